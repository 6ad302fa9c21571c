-- The log of publications: a stream for each name, and a stream of all names from which groups of consumers get them. The
-- id of a publication is a number, the time in microseconds or one more than the last one's, and the same in both.

local function position_at(seconds) return math.floor(seconds * 1000000) end

local function last_number() return tonumber(call('HGET', NAMESPACE .. 'totals', 'publication') or 0) end

local function number_of(entry) return (string.match(entry[1], '^%d+')) end

-- A publication as the caller gets it: name, number, and the fields of its entry.
local function shown_entry(name, entry) return {name, number_of(entry), entry[2]} end

-- What was published of a name with this number; nil if it is not kept any more.
local function entry_of(name, number)
  return call('XRANGE', key('published', name), number .. '-0', number .. '-0')[1]
end

local function publication(name, number)
  local entry = entry_of(name, number)
  return entry and shown_entry(name, entry)
end
