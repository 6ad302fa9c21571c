-- The tasks that have been queued for so many seconds, oldest first: of one queue and priority, or of all.
local older_than, most, only_queue, only_priority = tonumber(argument()), tonumber(argument()), argument(), argument()
local timers = {}
if only_priority ~= '' then
  timers[1] = key('queued', only_priority .. ':' .. only_queue)
else
  for _, queue in ipairs(known_queues()) do
    for priority = 0, 3 do timers[#timers + 1] = key('queued', priority .. ':' .. queue) end
  end
end
return show_all(due(timers, number_text(now - older_than), most))
