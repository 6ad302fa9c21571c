-- Take all running tasks from one worker.
local worker, crashed = argument(), argument() == '1'
local ids = call('HVALS', key('worker', worker))
table.sort(ids)
for _, id in ipairs(ids) do lose(load(id), crashed and lifecycle.lost or lifecycle.release) end
return show_all(ids)
