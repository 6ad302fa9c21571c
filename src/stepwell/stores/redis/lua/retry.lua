-- Queue an ended task again. The caller sends each record as he read it and as it is to be; if one has changed since, he
-- has to read again. The request only changes here, so that it is as he read it if the attempt is.
local id, attempt, words, last_mail, forgotten = argument(), tonumber(argument()), arguments(), argument(), arguments()

local function flag_or_nil(text)
  if text ~= '' then return text == '1' end
end

local revision = {
  request = argument(), before = argument(), definition = argument(), text = argument(),
  undo = flag_or_nil(argument()), has_variables = argument() == '1', variables = argument(), files = arguments(),
}

local function reset(task)
  local steps = {}
  for at = 1, #words, 3 do steps[#steps + 1] = {path = words[at], before = words[at + 1], record = words[at + 2]} end
  for at, record in ipairs(stored_records(task, steps)) do
    if record ~= steps[at].before then return false end
  end
  put_records(task, steps)
  for _, step in ipairs(steps) do call('HDEL', key('values', id), 'output:' .. step.path) end
  return true
end

local task = load_to_move(id)
if not task then return {'missing'} end
if task.state.ancestors or task.state.attempt ~= attempt then return {'retried', shown(task)} end
local refusal = lifecycle.retried(task.state)
if refusal then return refusal end
if not reset(task) then return {'changed'} end
if revision.request ~= '' then revise(task, revision) end
if #forgotten > 0 then forget_mail(task, forgotten, last_mail) end
call('HDEL', key('values', id), 'outputs')
return {'ok', shown(save(task))}
