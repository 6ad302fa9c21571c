-- Queue an ended task again. The caller sends each record as he read it and as it is to be; if one has changed since, he
-- has to read again.
local id, attempt, words = argument(), tonumber(argument()), arguments()
local task = load_to_move(id)
if not task then return {'missing'} end
if task.state.attempt ~= attempt then return {'retried', shown(task)} end
local refusal = lifecycle.retried(task.state)
if refusal then return refusal end
local steps = {}
for at = 1, #words, 3 do steps[#steps + 1] = {path = words[at], before = words[at + 1], record = words[at + 2]} end
for at, record in ipairs(stored_records(task, steps)) do
  if record ~= steps[at].before then return {'changed'} end
end
put_records(task, steps)
for _, step in ipairs(steps) do call('HDEL', key('values', id), 'output:' .. step.path) end
call('HDEL', key('values', id), 'outputs')
return {'ok', shown(save(task))}
