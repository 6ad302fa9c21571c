-- New tasks: what the caller asks for, and how it is written.

-- Snapshots by their hashes.
local function read_definitions()
  local texts = {}
  for _ = 1, tonumber(argument()) do
    local hash = argument()
    texts[hash] = argument()
  end
  return texts
end

-- A request, whose state has no status yet.
local function read_new()
  local new = {
    id = argument(), request = argument(), definition = argument(), workflow = argument(), external = argument(),
    idempotency_key = argument(), fingerprint = argument(), labels = split(argument()), files = split(argument()),
    variables = argument(), bell = argument() == '1', delay = tonumber(argument()), run_at = tonumber(argument()),
    state = {
      queue = argument(), priority = tonumber(argument()), format = tonumber(argument()), undo = argument() == '1',
      attempt = tonumber(argument()),
    },
  }
  local ancestors, state = split(argument()), new.state
  if #ancestors == 0 then return new end
  state.ancestors, state.place, state.index = ancestors, text_or_nil(argument()), text_or_nil(argument())
  state.part, state.undoing = argument() == '1', argument() == '1'
  return new
end

local function put_beside(new)
  if new.idempotency_key ~= '' then
    call('HSET', NAMESPACE .. 'keys', new.idempotency_key, new.id .. '\0' .. new.fingerprint)
  end
  if new.variables ~= '' then call('HSET', key('values', new.id), 'variables', new.variables) end
  use_files(new.id, new.files)
end

local function put_into_lists(new)
  enter(new)
  if new.state.ancestors then
    call('ZADD', key('children', parent_of(new.state)), 0, member_of(new.id, new.state))
  else
    for _, list in ipairs(lists_of(new)) do call('ZADD', list, 0, new.id) end
  end
end

local function put(new, texts)
  new.events = {}
  tell_move(new, nil)
  count_totals(nil, new.state)
  call('RPUSH', key('task', new.id), new.request, encode(new.state), unpack(new.events))
  use_definition(new.definition, texts[new.definition])
  put_into_lists(new)
  put_beside(new)
  if new.bell and new.state.status == 'queued' then ring(new) end
end
