-- Cancel a task, or note that it is to be cancelled.
local task, force = load_to_move(argument()), argument() == '1'
if not task then return {'missing'} end
local refusal = lifecycle.cancelled(task.state, force)
if refusal then return refusal end
return {'ok', shown(save(task))}
