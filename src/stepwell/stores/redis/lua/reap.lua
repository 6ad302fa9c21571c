-- Take running tasks whose lease is over from their workers; with grace give them a new lease.
local grace, most, asked_at = argument() == '1', tonumber(argument()), tonumber(argument())
if asked_at and now - asked_at > LEASE_SECONDS / 2 then grace = true end
local longest, timers = number_text(now + LEASE_SECONDS), {}
for _, queue in ipairs(known_queues()) do timers[#timers + 1] = key('running', queue) end

local function set_leases(at, from, to)
  for _, id in ipairs(call('ZRANGEBYSCORE', at, from, to)) do call('ZADD', at, longest, id) end
end

for _, at in ipairs(timers) do
  set_leases(at, '(' .. longest, '+inf')  -- of a clock that jumped back
  if grace then set_leases(at, '-inf', number_text(now)) end
end
if grace then return {number_text(now), {}} end
local ids = due(timers, number_text(now), most)
for _, id in ipairs(ids) do lose(load_to_move(id), lifecycle.lost) end
return {number_text(now), show_all(ids)}
