-- Append a publication to the log, or answer the one that has its key.
local name, payload, sender, known_by, topics = argument(), argument(), argument(), argument(), arguments()

local function first()
  local found = known_by ~= '' and call('HGET', NAMESPACE .. 'publication_keys', known_by)
  if not found then return nil end
  local its_name, number = string.match(found, '^([^%z]*)%z(.*)$')
  return publication(its_name, number)
end

local function fields_of()
  local fields = {'payload', payload, 'at', number_text(now), 'sender', sender}
  for _, topic in ipairs(topics) do
    fields[#fields + 1] = 'topic'
    fields[#fields + 1] = topic
  end
  return fields
end

-- Those who read a narrow topic need not read all of the name.
local function put_into_lists(number)
  for _, topic in ipairs(topics) do
    if topic ~= name then call('ZADD', numbers_key(topic), number, number) end
  end
end

local repeated = first()
if repeated then return {repeated, '0'} end
local number = number_text(math.max(last_number() + 1, position_at(now)))
call('HSET', NAMESPACE .. 'totals', 'publication', number)
call('XADD', key('published', name), number .. '-0', unpack(fields_of()))
put_into_lists(number)
call('XADD', NAMESPACE .. 'deliveries', number .. '-0', 'name', name, 'key', known_by)
if known_by ~= '' then call('HSET', NAMESPACE .. 'publication_keys', known_by, name .. '\0' .. number) end
call('HINCRBY', NAMESPACE .. 'publications', name .. '\0published', 1)
return {publication(name, number), '1'}
