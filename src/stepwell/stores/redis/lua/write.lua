-- Commit under a claim that goes on.
local id, token = argument(), argument()
local task = load(id)
if not task then return {'missing'} end
if not holds(task, token) then return {'lost'} end
write(task, read_commit())
keep(task)
return {'ok', number_text(now), task.state.cancel_requested and '1' or '0'}
