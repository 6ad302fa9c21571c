-- Commit and end the claim: `finish`, `suspend` or `release`. A repeat of the same call changes nothing.
local function text_or_nil(text)
  if text ~= '' then return text end
end

local how, id, token = argument(), argument(), argument()
local ending = {
  status = argument(), outputs = text_or_nil(argument()), outputs_size = tonumber(argument()),
  error = text_or_nil(argument()), error_code = text_or_nil(argument()), error_message = text_or_nil(argument()),
  pause = tonumber(argument()),
}
local outputs = ending.outputs
if ending.outputs_size then ending.outputs = ending.outputs_size end
local task = load_to_move(id)
if not task then return {'missing'} end
local ended_by = how .. ':' .. token
if task.state.released == ended_by and not holds(task, token) then return {'ok', shown(task)} end
if not holds(task, token) then return {'lost'} end
local ran = now - task.state.claimed_at
local refusal = lifecycle[how](copy(task.state), ran, ending)
if refusal then return refusal end
write(task, read_commit())
give_up(task)
task.state.released = ended_by
lifecycle[how](task.state, ran, ending)
if ending.outputs_size then call('HSET', key('values', id), 'outputs', outputs) end
return {'ok', shown(save(task))}
