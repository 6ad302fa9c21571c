-- A part of a list of root tasks, newest first. The shortest of the lists that the filter names is walked, the others are asked for
-- each id; at most LOOKS ids in one call, then the caller goes on after the last one.
local LOOKS = 2000
local status, queue, dead, before, wanted = argument(), argument(), argument(), argument(), tonumber(argument())

local function each_queue(list_of)
  local lists = {}
  for _, name in ipairs(queue ~= '' and {queue} or known_queues()) do list_of(lists, name) end
  return lists
end

local function by_state(lists, name)
  for _, one in ipairs(status ~= '' and {status} or STATUSES) do lists[#lists + 1] = listing(one, name) end
end

local function of_dead(lists, name) lists[#lists + 1] = key('dead', name) end

-- Groups of lists: a task has to be in one list of each group.
local function groups()
  local found = {each_queue(by_state)}
  found[1].needless = status == '' and queue == ''
  if dead == '1' then found[#found + 1] = each_queue(of_dead) end
  for _, list in ipairs(arguments()) do found[#found + 1] = {list} end
  return found
end

local function size(lists)
  local sum = 0
  for _, list in ipairs(lists) do sum = sum + call('ZCARD', list) end
  return sum
end

-- The shortest group, and the others that an id has to be in.
local function choose(all)
  local best, smallest = 1, size(all[1])
  for at = 2, #all do
    local length = size(all[at])
    if length < smallest then best, smallest = at, length end
  end
  local others = {}
  for at, lists in ipairs(all) do
    if at ~= best and not lists.needless then others[#others + 1] = lists end
  end
  return all[best], others
end

local function contains(lists, id)
  for _, list in ipairs(lists) do
    if call('ZSCORE', list, id) then return true end
  end
  return false
end

local function is_wanted(id, others, not_dead)
  for _, lists in ipairs(others) do
    if not contains(lists, id) then return false end
  end
  return not (not_dead and contains(not_dead, id))
end

local running_prefix = key('running', '')

local function newest(list, most)
  if string.sub(list, 1, #running_prefix) ~= running_prefix then
    return call('ZREVRANGEBYLEX', list, before == '' and '+' or '(' .. before, '-', 'LIMIT', 0, most)
  end
  local ids, children = {}, listing('running', string.sub(list, #running_prefix + 1), true)
  for _, id in ipairs(call('ZRANGE', list, 0, -1)) do  -- in order of their leases, and few
    if (before == '' or id < before) and not call('ZSCORE', children, id) then ids[#ids + 1] = id end
  end
  table.sort(ids, function(a, b) return a > b end)
  return {unpack(ids, 1, math.min(most, #ids))}
end

-- The next ids of all lists, newest first, and whether there may be more. Where a list has more than was asked of it, ids
-- older than its last one are left for the next call: the list may have newer ones.
local function merge(lists, most)
  local ids, oldest, more = {}, '', false
  for _, list in ipairs(lists) do
    local found = newest(list, most)
    for _, id in ipairs(found) do ids[#ids + 1] = id end
    if #found == most then
      more = true
      if found[most] > oldest then oldest = found[most] end
    end
  end
  table.sort(ids, function(a, b) return a > b end)
  while ids[1] and ids[#ids] < oldest do ids[#ids] = nil end
  return ids, more
end

local source, others = choose(groups())
local not_dead = dead == '0' and each_queue(of_dead) or nil
local is_filtered = #others > 0 or not_dead
local ids, more = merge(source, is_filtered and math.max(wanted, math.floor(LOOKS / math.max(1, #source))) or wanted)
local found, last = {}, ''
for _, id in ipairs(ids) do
  if #found == wanted then
    more = true
    break
  end
  if is_wanted(id, others, not_dead) then found[#found + 1] = id end
  last = id
end
return {more and last or '', show_all(found)}
