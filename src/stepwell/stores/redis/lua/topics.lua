-- Topics of publications: a name, or a name, a NUL and more. Under each name there is a stream of what was published, under
-- each narrower topic a list of numbers, which are the scores too.
local function name_of(topic) return string.match(topic, '^[^%z]*') end

local function numbers_key(topic) return key('numbers', topic) end

-- The numbers of publications with a narrow topic from the number `first` on, at most so many.
local function numbers_under(topic, first, most)
  return call('ZRANGEBYSCORE', numbers_key(topic), first, '+inf', 'LIMIT', 0, most)
end

-- The entries of the stream of a name from the number `first` on, at most so many.
local function entries_of(name, first, most)
  return call('XRANGE', key('published', name), first .. '-0', '+', 'COUNT', most)
end
