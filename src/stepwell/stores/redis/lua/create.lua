-- Create tasks, all or none: first everything is checked, then everything is written.
local max_queued = tonumber(argument())

local function read_definitions()
  local texts = {}
  for _ = 1, tonumber(argument()) do
    local hash = argument()
    texts[hash] = argument()
  end
  return texts
end

local function read_new()
  local new = {
    id = argument(), request = argument(), definition = argument(), workflow = argument(), external = argument(),
    idempotency_key = argument(), fingerprint = argument(), labels = split(argument()), files = split(argument()),
    variables = argument(), bell = argument() == '1',
    state = {queue = argument(), priority = tonumber(argument()), format = tonumber(argument())},
  }
  new.state.undo = argument() == '1'
  lifecycle.created(new.state, tonumber(argument()), tonumber(argument()))
  return new
end

local function fingerprint_of(task) return task.fingerprint or cjson.decode(task.request).fingerprint or '' end

-- Of the new ones and those that are kept, the task that this one repeats; or the refusal if it is another request.
local function first(new, ids, keys)
  local task = ids[new.id] or load(new.id)
  if task or new.idempotency_key == '' then return task end
  local holder = keys[new.idempotency_key]
  if not holder then
    local found = call('HGET', NAMESPACE .. 'keys', new.idempotency_key)
    if not found then return nil end
    local id, fingerprint = string.match(found, '^([^%z]*)%z(.*)$')
    holder = {task = load(id), fingerprint = fingerprint}
    if not holder.task then return nil end
  end
  if holder.fingerprint ~= new.fingerprint then return nil, {'taken', new.number, shown(holder.task)} end
  return holder.task
end

local function sort_out(count)
  local ids, keys, answers, created = {}, {}, {}, {}
  for number = 1, count do
    local new = read_new()
    new.number = tostring(number - 1)
    local task, refusal = first(new, ids, keys)
    if refusal then return nil, nil, refusal end
    answers[number] = {task or new, task and '0' or '1'}
    if not task then created[#created + 1] = new end
    ids[new.id] = task or new
    if new.idempotency_key ~= '' and not keys[new.idempotency_key] then
      keys[new.idempotency_key] = {task = task or new, fingerprint = fingerprint_of(task or new)}
    end
  end
  return answers, created
end

local function full(created)
  if not max_queued then return nil end
  local asked = {}
  for _, new in ipairs(created) do asked[new.state.queue] = (asked[new.state.queue] or 0) + 1 end
  for _, new in ipairs(created) do
    local queue = new.state.queue
    local waiting = call('ZCARD', listing('queued', queue)) + call('ZCARD', listing('pending', queue))
    if waiting + asked[queue] > max_queued then return {'full', queue, asked[queue], waiting} end
  end
end

local function put_beside(new)
  if new.idempotency_key ~= '' then
    call('HSET', NAMESPACE .. 'keys', new.idempotency_key, new.id .. '\0' .. new.fingerprint)
  end
  if new.variables ~= '' then call('HSET', key('values', new.id), 'variables', new.variables) end
  use_files(new.id, new.files)
end

local function put(new, texts)
  new.events = {}
  tell_move(new, nil)
  count_totals(nil, new.state)
  call('RPUSH', key('task', new.id), new.request, encode(new.state), unpack(new.events))
  call('HSETNX', NAMESPACE .. 'definitions', new.definition, texts[new.definition])
  call('HINCRBY', NAMESPACE .. 'definition_uses', new.definition, 1)
  enter(new)
  for _, list in ipairs(lists_of(new)) do call('ZADD', list, 0, new.id) end
  put_beside(new)
  if new.bell and new.state.status == 'queued' then ring(new) end
end

local texts = read_definitions()
local answers, created, refusal = sort_out(tonumber(argument()))
refusal = refusal or full(created)
if refusal then return refusal end
for _, new in ipairs(created) do put(new, texts) end
local shown_answers = {}
for number, answer in ipairs(answers) do shown_answers[number] = {shown(answer[1]), answer[2]} end
return {'ok', shown_answers}
