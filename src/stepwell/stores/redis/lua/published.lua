-- Publications of a name after a number, not older than a time; and where to go on.
local name, after, since, limit = argument(), tonumber(argument()), tonumber(argument()), tonumber(argument())
local from = math.max(after and after + 1 or 0, position_at(since))
local found = call('XRANGE', key('published', name), number_text(from) .. '-0', '+', 'COUNT', limit + 1)
local answer = {}
for at = 1, math.min(limit, #found) do answer[at] = shown_entry(name, found[at]) end
return {answer, #found > limit and number_of(found[limit]) or number_text(last_number())}
