-- Commit and end the claim: `finish`, `suspend`, `back_off` or `release`. A repeat of the same call changes nothing.
local how, id, token = argument(), argument(), argument()
local ending = {
  status = argument(), outputs = text_or_nil(argument()), outputs_size = tonumber(argument()),
  error = text_or_nil(argument()), error_code = text_or_nil(argument()), error_message = text_or_nil(argument()),
  pause = tonumber(argument()), due = tonumber(argument()), mail = tonumber(argument()), listens = arguments(),
}
local outputs = ending.outputs
if ending.outputs_size then ending.outputs = ending.outputs_size end
local commit = read_commit()
ending.undoing = commit.undoing
local task = load_to_move(id)
if not task then return {'missing'} end
local ended_by = how .. ':' .. token
if task.state.released == ended_by and not holds(task, token) then return {'ok', shown(task)} end
if not holds(task, token) then return {'lost'} end
local ran = now - task.state.claimed_at
if how == 'suspend' then
  ending.has_come = (task.state.mail or 0) > ending.mail or has_published(ending.listens)
end
local refusal = lifecycle[how](copy(task.state), ran, ending)
if refusal then return refusal end
write(task, commit)
give_up(task)
task.state.released = ended_by
lifecycle[how](task.state, ran, ending)
if task.state.status == 'waiting' and #ending.listens > 0 then listen(task, ending.listens) end
if ending.outputs_size then call('HSET', key('values', id), 'outputs', outputs) end
return {'ok', shown(save(task))}
