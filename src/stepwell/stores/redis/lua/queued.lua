-- The tasks that have been queued for so many seconds, oldest first.
local older_than, most = tonumber(argument()), tonumber(argument())
local timers = {}
for _, queue in ipairs(known_queues()) do
  for priority = 0, 3 do timers[#timers + 1] = key('queued', priority .. ':' .. queue) end
end
return show_all(due(timers, number_text(now - older_than), most))
