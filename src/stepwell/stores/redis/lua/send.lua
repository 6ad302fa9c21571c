-- Put a message into the mailbox of a task. Whether it is a repeat, or is refused, the caller judges by what he gets.
local id, name, payload, sender, known_by = argument(), argument(), argument(), argument(), argument()
local once, till, most = argument() == '1', tonumber(argument()), tonumber(argument())
local task = load_to_move(id)
if not task then return {'missing'} end

-- The first message that stands under this key or, if it may be there only once, under this name.
local function first()
  local found = call('HMGET', key('mail_index', id), 'key ' .. known_by, 'name ' .. name)
  local by_key, by_name = known_by ~= '' and tonumber(found[1]), once and tonumber(found[2])
  return by_key and by_name and math.min(by_key, by_name) or by_key or by_name
end

local function answer(kind, number, message) return {kind, shown(task), number_text(now), number, message} end

local number = first()
if number then return answer('first', number, message_at(task, number)) end
local is_full = call('LLEN', key('mail', id)) >= most
if is_full or ENDED[task.state.status] or till and now > till then return answer('refused', 0, '') end
number = post(task, name, payload, sender, known_by)
save(task)
return answer('sent', number, message_at(task, number))
