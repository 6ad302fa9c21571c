-- What is asked of the lists as a whole; this stands between the bell and one operation.

local SEEN = 4000

local function now()
  local time = redis.call('TIME')
  return time[1] + time[2] / 1000000
end

local function status_of(id)
  return redis.call('HGET', job_key(id), 'status')
end

-- A store elsewhere does not tell when it purges a record.
local function expire(id)
  redis.call('EXPIRE', job_key(id), RESULT_TTL)
end

-- The lists that ever had an entry, each followed by its length.
local function lengths()
  local found, begin = {}, #list_key('') + 1
  for _, list in ipairs(redis.call('SMEMBERS', PREFIX .. ':queues')) do
    found[#found + 1] = string.sub(list, begin)
    found[#found + 1] = redis.call('LLEN', list)
  end
  return found
end

local function each_line(queues, act)
  for _, queue in ipairs(queues) do
    for priority = 0, 3 do
      act(line_of(queue, priority))
    end
  end
end

-- How many execute, and how many wait.
local function busyness(queues)
  local executing, waiting = 0, 0
  each_line(queues, function(line)
    executing = executing + redis.call('ZCARD', PREFIX .. ':wip:' .. line)
    waiting = waiting + redis.call('LLEN', list_key(line))
  end)
  return {executing, waiting}
end

-- The length of the lists before this one, its own, the place in it (false if that is not near an end of it), and
-- the ids at both ends.
local function place(id, queue, priority)
  local before = 0
  for higher = priority + 1, 3 do
    before = before + redis.call('LLEN', list_key(line_of(queue, higher)))
  end
  local list = list_key(line_of(queue, priority))
  local found = redis.call('LPOS', list, id, 'RANK', -1, 'MAXLEN', NEAR)
    or redis.call('LPOS', list, id, 'MAXLEN', NEAR)
  local first, last = redis.call('LINDEX', list, 0), redis.call('LINDEX', list, -1)
  return {before, redis.call('LLEN', list), found, first, last}
end

-- Whether somebody who is alive runs it: then it was taken after the store said that it is queued.
local function is_running(id)
  local found = redis.call('HMGET', job_key(id), 'status', 'worker_name')
  return found[1] == 'started' and redis.call('EXISTS', PREFIX .. ':worker:' .. (found[2] or '')) == 1
end

-- Rings for those that are not at the beginning of their list, where the oldest belong. `tasks`: id, queue, priority,
-- the youngest first.
local function ring_again(tasks)
  local seen, rung = {}, 0
  for number = 1, #tasks, 3 do
    local id, queue, priority = tasks[number], tasks[number + 1], tasks[number + 2]
    local list = list_key(line_of(queue, priority))
    if not seen[list] then
      seen[list] = {}
      for _, waiting in ipairs(redis.call('LRANGE', list, 0, SEEN - 1)) do
        seen[list][waiting] = true
      end
      wake(queue)
    end
    if not seen[list][id] and not is_running(id) then
      bell.ring(id, queue, priority, now(), 'LPUSH')
      rung = rung + 1
    end
  end
  return rung
end

-- A popped id that cannot be claimed. Without its hash a later bell for it counts as new.
local function stale(id)
  if status_of(id) == 'queued' then
    redis.call('DEL', job_key(id))
  end
end

-- As `bell.removed`, where only the id is known.
local function remove(id)
  local line = redis.call('HGET', job_key(id), 'origin')
  if line then
    take_out(id, line, now())
  end
  if status_of(id) == 'canceled' then
    expire(id)
  end
end

-- As `bell.ended`, where the worker is only known from the job: the claim is over, the record names it no more.
local function ended(id, queue, priority, token, status, message)
  local worker = redis.call('HGET', job_key(id), 'worker_name') or ''
  if not redis.call('ZSCORE', PREFIX .. ':wip:' .. line_of(queue, priority), id .. ':' .. EXECUTION) then
    bell.started(id, queue, priority, token, worker, now())  -- that it was started did not arrive
  end
  bell.ended(id, queue, priority, token, worker, now(), status, message)
  if BECAME[status] then
    expire(id)
  end
end

-- Ends executions of workers that are no more, where the store cannot tell the bell.
local function bury(queues)
  each_line(queues, function(line)
    for _, execution in ipairs(redis.call('ZRANGE', PREFIX .. ':wip:' .. line, 0, -1)) do
      local id = string.match(execution, '^(.*):' .. EXECUTION .. '$')
      local worker = id and redis.call('HGET', job_key(id), 'worker_name') or ''
      if id and redis.call('EXISTS', PREFIX .. ':worker:' .. worker) == 0 then
        stop(id, line, worker)
        expire(id)  -- if the task goes on it is rung for again
      end
    end
  end)
end
