-- Take a task out of the dead letters.
local task = load_to_move(argument())
if not task then return {'missing'} end
local refusal = lifecycle.discarded(task.state)
if refusal then return refusal end
return {'ok', shown(save(task))}
