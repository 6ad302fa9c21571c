-- Count towards the limit of an account in this period; answers 0, or the seconds until the period ends.
local account, amount, limit, period = argument(), tonumber(argument()), tonumber(argument()), tonumber(argument())
local at = key('spent', period .. ':' .. account)
local begun = math.floor(now / period) * period
local latest, spent = begun, 0
local found = call('GET', at)
if found then
  local since, number = string.match(found, '^(%S+) (%S+)$')
  latest, spent = tonumber(since), tonumber(number)
end
local total = latest < begun and amount or spent + amount
if total > limit then return number_text(begun + period - now) end
latest = math.max(latest, begun)
call('SET', at, number_text(latest) .. ' ' .. number_text(total), 'EX', math.ceil(latest + period - now))
return '0'
