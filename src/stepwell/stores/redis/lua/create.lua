-- Create tasks, all or none: first everything is checked, then everything is written.
local max_queued = tonumber(argument())

local function fingerprint_of(task) return task.fingerprint or cjson.decode(task.request).fingerprint or '' end

-- The task that has an idempotency key, with its fingerprint; false if none has. `keys` is what is known already.
local function holder_of(idempotency_key, keys)
  if keys[idempotency_key] == nil then
    local found = call('HGET', NAMESPACE .. 'keys', idempotency_key)
    local id, fingerprint = string.match(found or '', '^([^%z]*)%z(.*)$')
    local task = id and load(id)
    keys[idempotency_key] = task and {task = task, fingerprint = fingerprint} or false
  end
  return keys[idempotency_key]
end

-- Of the new ones and those that are kept, the task that this one repeats; or the refusal if it is another request.
local function first(new, ids, keys)
  local task = ids[new.id] or load(new.id)
  if task or new.idempotency_key == '' then return task end
  local holder = holder_of(new.idempotency_key, keys)
  if not holder then return nil end
  if holder.fingerprint ~= new.fingerprint then return nil, {'taken', new.number, shown(holder.task)} end
  return holder.task
end

local function sort_out(count)
  local ids, keys, answers, created = {}, {}, {}, {}
  for number = 1, count do
    local new = read_new()
    lifecycle.created(new.state, new.delay, new.run_at)
    new.number = tostring(number - 1)
    local task, refusal = first(new, ids, keys)
    if refusal then return nil, nil, refusal end
    answers[number] = {task or new, task and '0' or '1'}
    if not task then created[#created + 1] = new end
    ids[new.id] = task or new
    if new.idempotency_key ~= '' and not holder_of(new.idempotency_key, keys) then
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
    local waiting = number_in('queued', queue) + number_in('pending', queue)
    if waiting + asked[queue] > max_queued then return {'full', queue, asked[queue], waiting} end
  end
end

local texts = read_definitions()
local answers, created, refusal = sort_out(tonumber(argument()))
refusal = refusal or full(created)
if refusal then return refusal end
for _, new in ipairs(created) do put(new, texts) end
local shown_answers = {}
for number, answer in ipairs(answers) do shown_answers[number] = {shown(answer[1]), answer[2]} end
return {'ok', shown_answers}
