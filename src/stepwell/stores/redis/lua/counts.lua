-- Per queue its name and a number for each of COUNTERS: lengths of lists, and totals.
local ENDINGS = {completed_total = 'completed', failed_total = 'failed', cancelled_total = 'cancelled'}
local totals = {}
local all = call('HGETALL', NAMESPACE .. 'totals')
for at = 1, #all, 2 do totals[all[at]] = all[at + 1] end

local function number_of(queue, name)
  if TASK_MOVES[name] then return number_in(name, queue) end
  if name == 'dead' then return call('ZCARD', key('dead', queue)) end
  local priority = string.match(name, '^queued:(%d)$')
  if priority then return call('ZCARD', key('queued', priority .. ':' .. queue)) end
  local total = tonumber(totals[queue .. '\0' .. name] or 0)
  local ended = ENDINGS[name]  -- whose tasks are in no total yet
  return ended and total + number_in(ended, queue) or total
end

local answer = {}
for _, queue in ipairs(known_queues()) do
  local numbers = {}
  for at, name in ipairs(COUNTERS) do numbers[at] = number_of(queue, name) end
  answer[#answer + 1] = {queue, numbers}
end
return answer
