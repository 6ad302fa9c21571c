-- Publications with a topic after a number, not older than a time; and where to go on.
local topic, after, since, limit = argument(), tonumber(argument()), tonumber(argument()), tonumber(argument())
local name, first = name_of(topic), number_text(math.max(after and after + 1 or 0, position_at(since)))

local function entries_with_topic(most)
  if topic == name then return entries_of(name, first, most) end
  local found = {}
  for at, number in ipairs(numbers_under(topic, first, most)) do found[at] = entry_of(name, number) end
  return found
end

local found, answer = entries_with_topic(limit + 1), {}
for at = 1, math.min(limit, #found) do answer[at] = shown_entry(name, found[at]) end
return {answer, #found > limit and number_of(found[limit]) or number_text(last_number())}
