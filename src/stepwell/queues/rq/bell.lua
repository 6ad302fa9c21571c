-- The bell: keeps RQ's keys true while a store moves its tasks. Before this text stand the constants
-- PREFIX, WAKE, FUNCTION, RESULT_TTL, RETRIES; after it the script that rings.

local bell = {}

local SUFFIXES = {[0] = ':low', [1] = '', [2] = ':high', [3] = ':urgent'}
local BECAME = {completed = 'finished', failed = 'failed', cancelled = 'canceled'}
local COUNTED = {completed = 'successful_job_count', failed = 'failed_job_count'}
local EXECUTION = 'run'  -- of one task at most one execution of ours is alive, so that they need no ids of their own
local MAX_HINTS = 1000
local HINT_TTL = 60
local MAX_POPS = 500
local NEAR = 1000
local MESSAGE_LENGTH = 1000

local function line_of(queue, priority)
  return queue .. SUFFIXES[tonumber(priority)]
end

local function list_key(line)
  return PREFIX .. ':queue:' .. line
end

local function job_key(id)
  return PREFIX .. ':job:' .. id
end

-- As RQ writes times. The date is Howard Hinnant's civil_from_days
-- (http://howardhinnant.github.io/date_algorithms.html), for times since 1970.
local function iso(now)
  local floor = math.floor
  local micros = floor((tonumber(now) % 1) * 1000000)
  local seconds = floor(tonumber(now))
  local rest = seconds % 86400
  local z = floor(seconds / 86400) + 719468
  local era = floor(z / 146097)
  local day_of_era = z - era * 146097
  local year = floor((day_of_era - floor(day_of_era / 1460) + floor(day_of_era / 36524) - floor(day_of_era / 146096)) / 365)
  local day_of_year = day_of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local month = floor((5 * day_of_year + 2) / 153)
  local day = day_of_year - floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  year = year + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day,
    floor(rest / 3600), floor(rest / 60) % 60, rest % 60, micros)
end

-- A job as it is when it is new. Every field is at most 64 bytes long, so that Redis keeps the hash compact.
local function write_job(id, line, status, at)
  redis.call('HSET', job_key(id), 'status', status, 'data', '["' .. FUNCTION .. '", null, [], {}]',
    'description', FUNCTION .. '()', 'origin', line, 'created_at', at, 'enqueued_at', at, 'timeout', '-1',
    'result_ttl', RESULT_TTL, 'failure_ttl', RESULT_TTL, 'retries_left', RETRIES)
end

-- Wakes one idle work-horse. A hint that none takes is dropped by the first that finds nothing to do.
local function wake(queue)
  local length = redis.call('RPUSH', WAKE .. queue, '1')
  if length == 1 then
    redis.call('EXPIRE', WAKE .. queue, HINT_TTL)
  elseif length > MAX_HINTS then
    redis.call('LPOP', WAKE .. queue)
  end
end

-- A hash that was not there has expired, or was never registered: it must not come to life without an end.
local function show(worker, state, counter)
  local key = PREFIX .. ':worker:' .. worker
  if redis.call('HSET', key, 'state', state) == 1 then
    redis.call('DEL', key)
  elseif counter then
    redis.call('HINCRBY', key, counter, 1)
  end
end

-- RQ decodes it strictly: no character may be cut in two.
local function shortened(message)
  message = message or ''
  if #message <= MESSAGE_LENGTH then
    return message
  end
  return (string.gsub(string.sub(message, 1, MESSAGE_LENGTH), '[\192-\247]?[\128-\191]*$', ''))
end

-- Ends an execution; answers whether it was one of ours.
local function stop(id, line, worker, counter)
  local execution = id .. ':' .. EXECUTION
  if redis.call('ZREM', PREFIX .. ':wip:' .. line, execution) == 0 then
    return false
  end
  redis.call('DEL', PREFIX .. ':execution:' .. execution)
  redis.call('SREM', PREFIX .. ':worker:' .. worker .. ':executions', execution)
  show(worker, 'idle', counter)  -- if it runs others at the same time, the next beat of its parent says so
  return true
end

-- `became` is the status of the job, and the name of the registry that holds it from now on. The job itself lives as
-- long as the record of its task.
local function keep(id, line, became, now, message)
  local job, registry = job_key(id), PREFIX .. ':' .. became .. ':' .. line
  if redis.call('HSET', job, 'status', became, 'ended_at', iso(now)) == 2 then
    redis.call('DEL', job)  -- deleted behind our back: half a job would break RQ's tools
    return
  end
  if became == 'failed' then
    redis.call('HSET', job, 'exc_info', shortened(message))
  elseif became == 'canceled' then
    redis.call('ZREMRANGEBYSCORE', registry, 0, now)  -- RQ itself never forgets one that was cancelled
  end
  redis.call('ZADD', registry, now + RESULT_TTL, id)
end

-- One that waits for a time or a signal is in no list. RQ itself leaves deferred jobs alone.
local function defer(id, line, now)
  if redis.call('HSET', job_key(id), 'status', 'deferred') == 1 then
    redis.call('DEL', job_key(id))
  else
    redis.call('ZADD', PREFIX .. ':deferred:' .. line, now, id)
  end
end

-- Takes a job that is rung for again out of where it is.
local function fetch_back(id, line, status, worker)
  if status == 'started' then
    stop(id, line, worker)
  elseif status ~= 'queued' then
    redis.call('ZREM', PREFIX .. ':' .. status .. ':' .. line, id)
    redis.call('HDEL', job_key(id), 'ended_at', 'exc_info')
    redis.call('PERSIST', job_key(id))
  end
end

-- Searches only near both ends: what is left in a list is dropped when it is popped.
local function drop(id, line)
  local list = list_key(line)
  if redis.call('LPOS', list, id, 'MAXLEN', NEAR) then
    redis.call('LREM', list, 1, id)
  elseif redis.call('LPOS', list, id, 'RANK', -1, 'MAXLEN', NEAR) then
    redis.call('LREM', list, -1, id)
  end
end

local function take_out(id, line, now)
  local status = redis.call('HGET', job_key(id), 'status')
  if status == 'queued' then
    drop(id, line)
  elseif status == 'deferred' then
    redis.call('ZREM', PREFIX .. ':deferred:' .. line, id)
  else
    return
  end
  keep(id, line, 'canceled', now)
end

local function pop(lists)
  if redis.REDIS_VERSION_NUM then  -- since Redis 7, which also has LMPOP
    local words = {unpack(lists)}
    words[#words + 1] = 'LEFT'
    local popped = redis.call('LMPOP', #lists, unpack(words))
    return popped and popped[2][1]
  end
  for _, list in ipairs(lists) do
    local id = redis.call('LPOP', list)
    if id then
      return id
    end
  end
end

local function in_order(queues)
  local lists = {}
  for priority = 3, 0, -1 do
    for _, queue in ipairs(queues) do
      lists[#lists + 1] = list_key(line_of(queue, priority))
    end
  end
  return lists
end

local function drop_hints(queues)
  local hints = {}
  for number, queue in ipairs(queues) do
    hints[number] = WAKE .. queue
  end
  redis.call('DEL', unpack(hints))
end

-- It has become `queued`. Pushes always: one that waits twice is dropped the second time. `command` is LPUSH for
-- one that waited for long.
function bell.ring(id, queue, priority, now, command)
  local line, at = line_of(queue, priority), iso(now)
  local was = redis.call('HMGET', job_key(id), 'status', 'worker_name')
  if was[1] then
    fetch_back(id, line, was[1], was[2] or '')
    redis.call('HSET', job_key(id), 'status', 'queued', 'enqueued_at', at)
  else
    write_job(id, line, 'queued', at)
  end
  if redis.call(command or 'RPUSH', list_key(line), id) == 1 then
    redis.call('SADD', PREFIX .. ':queues', list_key(line))
  end
  wake(queue)
end

-- Pops ids, by priority, then in the order of `queues`; nil at the end, and while `rq suspend` holds.
function bell.next(queues)
  if #queues == 0 or redis.call('EXISTS', PREFIX .. ':suspended') == 1 then
    return function() end
  end
  local lists, pops = in_order(queues), 0
  return function()
    if pops == MAX_POPS then
      wake(queues[1])  -- so many were stale: go on in another call, others wait meanwhile
      return nil
    end
    pops = pops + 1
    local id = pop(lists)
    if id then
      return id
    end
    drop_hints(queues)
    return nil  -- not false, which would not end a loop
  end
end

-- A worker of ours took it. Scores without end keep RQ's own clean-up away from it.
function bell.started(id, queue, priority, token, worker, now)
  local line, execution = line_of(queue, priority), id .. ':' .. EXECUTION
  if redis.call('HSET', job_key(id), 'status', 'started', 'started_at', iso(now), 'worker_name', worker) == 3 then
    write_job(id, line, 'started', iso(now))  -- deleted behind our back
  end
  redis.call('HSET', PREFIX .. ':execution:' .. execution, 'id', EXECUTION, 'job_id', id,
    'created_at', now, 'last_heartbeat', now, 'worker_name', worker)
  redis.call('ZADD', PREFIX .. ':wip:' .. line, '+inf', execution)
  redis.call('SADD', PREFIX .. ':worker:' .. worker .. ':executions', execution)
  show(worker, 'busy')
end

-- Its claim ended, and this is what it became. Where `started` did not begin it, RQ's own worker keeps the books.
function bell.ended(id, queue, priority, token, worker, now, status, message)
  local line = line_of(queue, priority)
  if not stop(id, line, worker, COUNTED[status]) then
    return
  end
  if status == 'waiting' then
    defer(id, line, now)
  elseif BECAME[status] then
    keep(id, line, BECAME[status], now, message)
  end
end

-- It was cancelled while it did not run.
function bell.removed(id, queue, priority, now)
  take_out(id, line_of(queue, priority), now)
end

-- Its record is purged.
function bell.forgotten(id, queue, priority)
  local line = line_of(queue, priority)
  for _, registry in ipairs({'finished', 'failed', 'canceled', 'deferred'}) do
    redis.call('ZREM', PREFIX .. ':' .. registry .. ':' .. line, id)
  end
  redis.call('DEL', job_key(id), PREFIX .. ':results:' .. id)
end
