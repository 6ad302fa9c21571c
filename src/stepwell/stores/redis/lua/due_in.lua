-- Seconds until the next sleeping task is due; nothing if none sleeps.
local next_one = call('ZRANGE', NAMESPACE .. 'asleep', 0, 0, 'WITHSCORES')
if next_one[2] then return number_text(math.max(0, next_one[2] - now)) end
return false
