-- The crew of a step.
local id, path = argument(), argument()
local crew = load_crew(id, path)
if crew then return {'ok', crew_text(crew)} end
return {call('EXISTS', key('task', id)) == 0 and 'missing' or 'none'}
