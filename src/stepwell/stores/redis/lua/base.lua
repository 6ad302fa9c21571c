-- What every operation needs: arguments, time, keys, commands on many things.
local call = redis.call
local taken = 0

-- The next argument of this call.
local function argument()
  taken = taken + 1
  return ARGV[taken]
end

local function text_or_nil(text)
  if text ~= '' then return text end
end

-- The next arguments, as many as the one before them says.
local function arguments()
  local found = {}
  for number = 1, tonumber(argument()) do
    found[number] = argument()
  end
  return found
end

-- Seconds since 1970: the first argument if it is one, else the server's time.
local function time()
  local given = argument()
  if given ~= '' then return tonumber(given) end
  local parts = call('TIME')
  return tonumber(string.format('%s.%06d', parts[1], parts[2]))
end

local now = time()

local function key(kind, name) return NAMESPACE .. kind .. ':' .. name end

-- A number as JSON and as a score; times are exact to the microsecond.
local function number_text(number)
  if number == math.floor(number) then return string.format('%.0f', number) end
  return string.format('%.6f', number)
end

-- The queues that ever had a task.
local function known_queues()
  local queues = {}
  for _, field in ipairs(call('HKEYS', NAMESPACE .. 'totals')) do
    local queue = string.match(field, '^(.*)%zcreated_total$')
    if queue then queues[#queues + 1] = queue end
  end
  return queues
end

-- A command with any number of further words, `width` of which belong together; answers the replies in one list.
local function call_many(command, at, words, width)
  local replies = {}
  local most = 1000 * width
  for first = 1, #words, most do
    local reply = call(command, at, unpack(words, first, math.min(first + most - 1, #words)))
    if type(reply) == 'table' then
      for _, one in ipairs(reply) do replies[#replies + 1] = one end
    end
  end
  return replies
end

-- The texts between separators of one byte, by default NULs.
local function split(text, separator)
  local parts, from = {}, 1
  if text == '' then return parts end
  while from do
    local at = string.find(text, separator or '\0', from, true)
    parts[#parts + 1] = string.sub(text, from, at and at - 1)
    from = at and at + 1
  end
  return parts
end
