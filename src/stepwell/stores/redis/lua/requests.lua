-- The requests of tasks as they are kept; of those that are not there an empty text.
local found = {}
for at, id in ipairs(arguments()) do found[at] = call('LINDEX', key('task', id), 0) or '' end
return found
