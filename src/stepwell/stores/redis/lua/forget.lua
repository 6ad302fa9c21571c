-- Remove the oldest publications, with their keys and their places in lists, if they are older than so many seconds: at most
-- so many. Answers whether there may be more.
local older_than, most = tonumber(argument()), tonumber(argument())
local deliveries = NAMESPACE .. 'deliveries'
local latest = number_text(position_at(now - older_than)) .. '-0'
local found, names = call('XRANGE', deliveries, '-', '(' .. latest, 'COUNT', most), {}

local function leave_lists(name, number)
  local entry = entry_of(name, number)
  local fields = entry and entry[2] or {}
  for at = 1, #fields, 2 do
    local topic = fields[at] == 'topic' and fields[at + 1]
    if topic and topic ~= name then call('ZREM', numbers_key(topic), number) end
  end
end

local function trim(at, kept_from)
  call('XTRIM', at, 'MINID', kept_from)
  if call('XLEN', at) == 0 then call('DEL', at) end
end

for _, entry in ipairs(found) do
  local name, known_by = entry[2][2], entry[2][4]
  names[name] = true
  leave_lists(name, number_of(entry))
  if known_by ~= '' then call('HDEL', NAMESPACE .. 'publication_keys', known_by) end
end
if #found == 0 then return 0 end
local kept_from = #found < most and latest or number_text(number_of(found[#found]) + 1) .. '-0'
for name in pairs(names) do trim(key('published', name), kept_from) end
trim(deliveries, kept_from)
return #found == most and 1 or 0
