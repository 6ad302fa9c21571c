-- Close the crew of a step, or all crews of a task, and cancel children. Answers those that were cancelled, and whether
-- there are more to look at.
local id, path, most = argument(), argument(), tonumber(argument())
if call('EXISTS', key('task', id)) == 0 then return {'missing'} end

local function close(place)
  local crew = load_crew(id, place)
  if not crew then return end
  crew.closed = 1
  tell_if_over(id, place, crew)
  keep_crew(id, place, crew)
end

-- Cancel a child that is not yet, and answer whether it was.
local function cancel(child_id)
  local child = load_to_move(child_id)
  if not child or ENDED[child.state.status] or child.state.cancel_requested then return false end
  lifecycle.cancelled(child.state, true)
  save(child)
  return true
end

local places = path ~= '' and {path} or call('HKEYS', key('crews', id))
for _, place in ipairs(places) do close(place) end
local cancelled, looked = {}, 0
for _, place in ipairs(places) do
  local members = members_key(id, place)
  for _, child_id in ipairs(call('ZRANGE', members, 0, most - looked - 1)) do
    call('ZREM', members, child_id)
    looked = looked + 1
    if cancel(child_id) then cancelled[#cancelled + 1] = child_id end
  end
  if looked == most then break end
end
return {'ok', show_all(cancelled), looked == most and '1' or '0'}
