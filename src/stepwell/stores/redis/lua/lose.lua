-- Take all running tasks from one worker.
local worker, crashed = argument(), argument() == '1'
local ids = running(function(state) return state.worker == worker end)
table.sort(ids)
local answer = {}
for at, id in ipairs(ids) do  -- each is loaded when it is its turn: the end of a child moves its parent
  answer[at] = shown(lose(load_to_move(id), crashed and lifecycle.lost or lifecycle.release))
end
return answer
