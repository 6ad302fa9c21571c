-- Take all running tasks from one worker.
local worker, crashed = argument(), argument() == '1'
local tasks = running(function(state) return state.worker == worker end)
table.sort(tasks, function(a, b) return a.id < b.id end)
local answer = {}
for at, task in ipairs(tasks) do
  answer[at] = shown(lose(task, crashed and lifecycle.lost or lifecycle.release))
end
return answer
