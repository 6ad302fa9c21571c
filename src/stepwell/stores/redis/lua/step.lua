-- The record of one step.
local id, path = argument(), argument()
local task = load(id)
if not task then return {'missing'} end
return {'ok', stored_records(task, {{path = path}})[1]}
