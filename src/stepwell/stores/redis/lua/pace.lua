-- The endings of the last whole minutes: for each minute pairs of `queue NUL status` and number.
local this, answer = math.floor(now / 60), {}
for minute = this - tonumber(argument()), this - 1 do
  answer[#answer + 1] = call('HGETALL', key('pace', minute))
end
return answer
