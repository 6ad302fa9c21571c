-- Queue tasks that listen to one of these topics and have not read the publication with this number.
local number, most, topics = argument(), tonumber(argument()), arguments()
local roused = {}

local function rouse(id, listeners)
  local task = load_to_move(id)
  if task and lifecycle.listens(task.state) then
    lifecycle.woken(task.state)
    save(task)
    roused[#roused + 1] = id
  else
    call('ZREM', listeners, id)
  end
end

for _, topic in ipairs(topics) do
  local listeners = key('topic', topic)
  local unread = call('ZRANGEBYSCORE', listeners, '-inf', '(' .. number, 'LIMIT', 0, most - #roused)
  for _, id in ipairs(unread) do rouse(id, listeners) end
end
return show_all(roused)
