-- Step records of a task: all of them for the caller to sort, or if they have an index, the wanted part in order.
local id, after, wanted = argument(), argument(), tonumber(argument())
local task = load(id)
if not task then return {'missing'} end
if not wanted or task.state.step_count <= STEPS_WITHOUT_INDEX then
  return {'ok', all_records(task)}
end
local from = after == '' and '-' or '(' .. after
local paths, found = {}, {}
for at, one in ipairs(call('ZRANGEBYLEX', key('order', id), from, '+', 'LIMIT', 0, wanted)) do
  paths[at] = string.match(one, '^[^%z]*%z(.*)$')
end
for at, record in ipairs(call_many('HMGET', key('steps', id), paths, 1)) do
  found[2 * at - 1], found[2 * at] = paths[at], record
end
return {'ok', found}
