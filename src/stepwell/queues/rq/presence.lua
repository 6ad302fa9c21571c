-- Shows a worker and its work-horses. ARGV[1] is JSON: {namespace, prefix, ttl, lines: [RQ queue], name, view (none if
-- the worker ends), horses: {name: [field, value, …]}, left: [name], sweep}. Answers whether `rq suspend` holds.

local beat = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local workers, suspended = beat.prefix .. ':workers', redis.call('EXISTS', beat.prefix .. ':suspended') == 1

local function register(command, key)
  redis.call(command, workers, key)
  for _, line in ipairs(beat.lines) do
    redis.call(command, workers .. ':' .. line, key)
  end
end

-- Of those that died without a word RQ keeps the names.
local function sweep()
  local sets = {workers}
  for _, line in ipairs(beat.lines) do
    sets[#sets + 1] = workers .. ':' .. line
  end
  for _, key in ipairs(redis.call('SUNION', unpack(sets))) do
    if redis.call('EXISTS', key) == 0 then
      register('SREM', key)
    end
  end
end

for name, fields in pairs(beat.horses) do
  local key = beat.prefix .. ':worker:' .. name
  local busy = redis.call('EXISTS', key .. ':executions') == 1
  redis.call('HSET', key, 'state', busy and 'busy' or suspended and 'suspended' or 'idle', unpack(fields))
  redis.call('EXPIRE', key, beat.ttl)
  redis.call('EXPIRE', key .. ':executions', beat.ttl)
  register('SADD', key)
end

for _, name in ipairs(beat.left) do
  local key = beat.prefix .. ':worker:' .. name
  register('SREM', key)
  redis.call('DEL', key, key .. ':executions')
end

local index = beat.namespace .. ':presence'
if beat.view then
  redis.call('SET', index .. ':' .. beat.name, beat.view, 'EX', beat.ttl)
  redis.call('ZADD', index, time[1] + beat.ttl, beat.name)
  redis.call('EXPIRE', index, beat.ttl)
else
  redis.call('DEL', index .. ':' .. beat.name)
  redis.call('ZREM', index, beat.name)
end
redis.call('ZREMRANGEBYSCORE', index, '-inf', time[1])
if beat.sweep then
  sweep()
end
return suspended and 1 or 0
