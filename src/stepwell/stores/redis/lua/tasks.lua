-- Tasks as they are kept: `task` is a table of id, request (JSON text), state, inline step records (see records.lua), the
-- state before, and events to append.
-- Whatever changes a task goes through `save`, which keeps lists, timers, totals, events and bells in step with it.

local function copy(state)
  local other = {}
  for name, value in pairs(state) do other[name] = value end
  return other
end

-- The task with this id; nil if there is none.
local function load(id)
  local found = call('LRANGE', key('task', id), 0, 2)
  if not found[1] then return nil end
  local state = decode(found[2])
  return {id = id, request = found[1], state = state, inline = found[3], before = copy(state), events = {}}
end

-- What the caller gets to see of a task.
local function shown(task) return {task.id, task.request, encode(task.state)} end

-- Where a task waits for its time, with when it next needs a look as the score.
local function timer(state)
  if state.status == 'queued' then return key('queued', state.priority .. ':' .. state.queue), state.updated_at end
  if state.status == 'running' then return key('running', state.queue), now + LEASE_SECONDS end
  if ENDED[state.status] then return NAMESPACE .. 'ended', state.completed_at end
  return NAMESPACE .. 'asleep', state.wake_at
end

-- The list, in order of ids, of the tasks in this state and queue. Those that run are few: their timers are their list.
local function listing(status, queue)
  return status == 'running' and key('running', queue) or key('list', status .. ':' .. queue)
end

-- The lists that a task is in for good. `labels` holds names and values by turns.
local function lists_of(named)
  local lists = {key('workflow', named.workflow)}
  if named.external ~= '' then lists[2] = key('external', named.external) end
  for at = 1, #named.labels, 2 do
    lists[#lists + 1] = key('label', named.labels[at] .. '\0' .. named.labels[at + 1])
  end
  return lists
end

-- Events are JSON arrays of time, kind, data, and a path if there is one; data that is but an attempt is its number.
local function tell(task, kind_and_more)
  task.events[#task.events + 1] = '[' .. number_text(now) .. ',' .. kind_and_more
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

local function count(before, after)
  for _, name in ipairs(lifecycle.totals(before, after)) do
    call('HINCRBY', NAMESPACE .. 'totals', after.queue .. '\0' .. name, 1)
  end
  if before and ENDED[after.status] and before.status ~= after.status then
    local minute = key('pace', math.floor(now / 60))
    local number = call('HINCRBY', minute, after.queue .. '\0' .. after.status, 1)
    if number == 1 then call('EXPIRE', minute, PACE_SECONDS) end
  end
end

local function enter(task)
  local id, state = task.id, task.state
  local at, due = timer(state)
  call('ZADD', at, number_text(due), id)
  local list = listing(state.status, state.queue)
  if list ~= at then call('ZADD', list, 0, id) end
end

local function leave(id, state)
  local at = timer(state)
  call('ZREM', at, id)
  local list = listing(state.status, state.queue)
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

-- Write what a task has become.
local function save(task)
  local before, after = task.before, task.state
  tell_move(task, before)
  count(before, after)
  call('LSET', key('task', task.id), 1, encode(after))
  if #task.events > 0 then call_many('RPUSH', key('task', task.id), task.events, 1) end
  if before.status ~= after.status then
    leave(task.id, before)
    enter(task)
    mark_dead(task, before)
    ring_for_move(task, before)
  elseif before.dead ~= after.dead then
    mark_dead(task, before)
  end
  task.before, task.events = copy(after), {}
  return task
end

-- Whether the worker that holds the task, if any, holds it under this token.
local function holds(task, token) return task.state.token == token end

local function was_released_by(state, token)
  return state.released ~= nil and string.match(state.released, '^[^:]*:(.*)$') == token
end

local function give_up(task)
  call('HDEL', key('worker', task.before.worker), task.state.token)
  task.state.token, task.state.claimed_at = nil, nil
end

-- Take a task from a worker that is lost; its running time ends with its lease.
local function lose(task, become)
  local state = task.state
  local lease_end = tonumber(call('ZSCORE', key('running', state.queue), task.id) or now)
  local claimed_at = state.claimed_at
  give_up(task)
  become(state, math.min(now, lease_end) - claimed_at, {pause = 0})
  return save(task)
end

-- Of timers the tasks due until `latest`, from the one that is due first: at most so many ids.
local function due(timers, latest, most)
  local found = {}
  for _, at in ipairs(timers) do
    local pairs_ = call('ZRANGEBYSCORE', at, '-inf', latest, 'WITHSCORES', 'LIMIT', 0, most)
    for position = 1, #pairs_, 2 do
      found[#found + 1] = {id = pairs_[position], at = tonumber(pairs_[position + 1])}
    end
  end
  if #timers > 1 then
    table.sort(found, function(a, b) return a.at < b.at or a.at == b.at and a.id < b.id end)
  end
  local ids = {}
  for position = 1, math.min(most, #found) do ids[position] = found[position].id end
  return ids
end

-- The tasks with these ids, as the caller gets to see them.
local function show_all(ids)
  local found = {}
  for position, id in ipairs(ids) do
    local task = call('LRANGE', key('task', id), 0, 1)
    found[position] = {id, task[1], task[2]}
  end
  return found
end
