-- A part of the list of children of a task, in order of places and indices. At most LOOKS in one call, then the caller
-- goes on after the last one.
local LOOKS = 1000
local parent, first, last, status, wanted = argument(), argument(), argument(), argument(), tonumber(argument())
local members = call('ZRANGEBYLEX', key('children', parent), first, last, 'LIMIT', 0, LOOKS)

local function is_wanted(state) return status == '' or string.find(state, '["' .. status .. '",', 1, true) == 1 end

local found, looked = {}, 0
for _, member in ipairs(members) do
  if #found == wanted then break end
  local id = string.match(member, '[^%z]*$')
  local task = call('LRANGE', key('task', id), 0, 1)
  if task[1] and is_wanted(task[2]) then found[#found + 1] = {id, task[1], task[2]} end
  looked = looked + 1
end
local is_end = looked == #members and #members < LOOKS
return {is_end and '' or members[looked], found}
