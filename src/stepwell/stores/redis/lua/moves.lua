-- What a move of a task from state to state changes: lists, timers, totals, events and bells. `save` does all of it.
local save  -- the end of a child moves its parent and other children

local function copy(state)
  local other = {}
  for name, value in pairs(state) do other[name] = value end
  return other
end

-- The task with this id, and what it is before the move.
local function load_to_move(id)
  local task = load(id)
  if task then task.before = copy(task.state) end
  return task
end

-- Where a task waits for its time, with when it next needs a look as the score. Nobody looks at a task that waits without
-- a time limit, nor at a child that is held, nor at one that ended, which goes with its root.
local function timer(state)
  if state.status == 'queued' then return key('queued', state.priority .. ':' .. state.queue), state.updated_at end
  if state.status == 'running' then return key('running', state.queue), now + LEASE_SECONDS end
  if not ENDED[state.status] then return state.wake_at and NAMESPACE .. 'asleep', state.wake_at end
  return not state.ancestors and NAMESPACE .. 'ended', state.completed_at
end

-- How a child is called in the list of children of its parent: in order of places and indices.
local function member_of(id, state)
  return (state.place or '') .. '\0' .. string.format('%010d', state.index or 0) .. '\0' .. id
end

-- The lists that a root task is in for good. `labels` holds names and values by turns.
local function lists_of(named)
  local lists = {key('workflow', named.workflow)}
  if named.external ~= '' then lists[2] = key('external', named.external) end
  for at = 1, #named.labels, 2 do
    lists[#lists + 1] = key('label', named.labels[at] .. '\0' .. named.labels[at + 1])
  end
  return lists
end

local function tell_move(task, before)
  local after = task.state
  local data = after.attempt
  if after.error and (ENDED[after.status] or after.status == 'waiting') then
    data = string.format('{"attempt":%d,"code":%s,"message":%s}',
      after.attempt, cjson.encode(after.error_code or ''), cjson.encode(after.error_message or ''))
  end
  for _, kind in ipairs(lifecycle.kinds(before, after)) do tell(task, '"' .. kind .. '",' .. data .. ']') end
end

local function count_totals(before, after)
  local queue = (after or before).queue
  for _, name in ipairs(lifecycle.totals(before, after)) do
    call('HINCRBY', NAMESPACE .. 'totals', queue .. '\0' .. name, 1)
  end
end

local function count(before, after)
  count_totals(before, after)
  if ENDED[after.status] and before.status ~= after.status then
    local minute = key('pace', math.floor(now / 60))
    local number = call('HINCRBY', minute, after.queue .. '\0' .. after.status, 1)
    if number == 1 then call('EXPIRE', minute, PACE_SECONDS) end
  end
end

local function enter(task)
  local id, state = task.id, task.state
  local at, score = timer(state)
  if at then call('ZADD', at, number_text(score), id) end
  local list = listing(state.status, state.queue, state.ancestors)
  if list ~= at then call('ZADD', list, 0, id) end
end

local function leave(id, state)
  local at = timer(state)
  if at then call('ZREM', at, id) end
  local list = listing(state.status, state.queue, state.ancestors)
  if list ~= at then call('ZREM', list, id) end
end

local function mark_dead(task, before)
  local after = task.state
  if after.dead and not before.dead then call('ZADD', key('dead', after.queue), 0, task.id) end
  if before.dead and not after.dead then call('ZREM', key('dead', after.queue), task.id) end
end

local function ring(task)
  bell.ring(task.id, task.state.queue, task.state.priority, now)
end

local function ring_for_move(task, before)
  local id, after = task.id, task.state
  if before.status == 'running' then
    bell.ended(
      id, after.queue, after.priority, before.token, before.worker, now, after.status, after.error_message or '')
  elseif after.status == 'cancelled' then
    bell.removed(id, after.queue, after.priority, now)
  end
  if after.status == 'queued' then ring(task) end
end
