-- The next publications for a group, each for one who asks, until he has delivered it or IDLE seconds are over. Redis
-- would remember the names of consumers for ever, and nobody asks for them: a group has one.
local IDLE, CONSUMER = 30, 'all'
local group, limit = argument(), tonumber(argument())
local at = NAMESPACE .. 'deliveries'
if call('EXISTS', at) == 0 then return {} end

local function is_there()
  for _, about in ipairs(call('XINFO', 'GROUPS', at)) do
    if about[2] == group then return true end
  end
  return false
end

-- The server counts idleness by its own clock, and deliveries are noted by the clock of the store.
local function milliseconds_idle()
  local parts = call('TIME')
  return math.max(0, math.floor(parts[1] * 1000 + parts[2] / 1000) - math.floor(now * 1000) + IDLE * 1000)
end

local found, ids = {}, {}

local function take(entries)
  for _, entry in ipairs(entries) do
    if entry then  -- else it was purged before it was delivered
      ids[#ids + 1] = entry[1]
      found[#found + 1] = publication(entry[2][2], number_of(entry))
    end
  end
end

if not is_there() then call('XGROUP', 'CREATE', at, group, 0) end
take(call('XAUTOCLAIM', at, group, CONSUMER, milliseconds_idle(), 0, 'COUNT', limit)[2])
if #ids < limit then
  local streams = call('XREADGROUP', 'GROUP', group, CONSUMER, 'COUNT', limit - #ids, 'STREAMS', at, '>')
  if streams then take(streams[1][2]) end
end
if #ids > 0 then
  ids[#ids + 1], ids[#ids + 2], ids[#ids + 3] = 'TIME', number_text(math.floor(now * 1000)), 'JUSTID'
  call('XCLAIM', at, group, CONSUMER, 0, unpack(ids))
end
return found
