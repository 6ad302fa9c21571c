-- Per queue with queued tasks its name and the age of the oldest.
local answer = {}
for _, queue in ipairs(known_queues()) do
  local oldest
  for priority = 0, 3 do
    local first = call('ZRANGE', key('queued', priority .. ':' .. queue), 0, 0, 'WITHSCORES')
    local since = tonumber(first[2])
    if since and (not oldest or since < oldest) then oldest = since end
  end
  if oldest then answer[#answer + 1] = {queue, number_text(math.max(0, now - oldest))} end
end
return answer
