-- Remove root tasks that ended long ago, each after all its children, with all that belongs to them; answers how many
-- tasks, and the files that nothing uses now.
local older_than, most = tonumber(argument()), tonumber(argument())
local freed, gone = {}, 0

local function give_back_files(id)
  for _, sha256 in ipairs(call('SMEMBERS', key('files', id))) do
    if call('HINCRBY', NAMESPACE .. 'files', sha256, -1) <= 0 then
      call('HDEL', NAMESPACE .. 'files', sha256)
      freed[#freed + 1] = sha256
    end
  end
end

local function by_turns(labels)
  local words = {}
  for name, value in pairs(labels or {}) do
    words[#words + 1] = name
    words[#words + 1] = value
  end
  return words
end

-- The bell of a child that has not ended although its root has.
local function silence(id, state)
  if state.status == 'running' then
    bell.ended(id, state.queue, state.priority, state.token, state.worker, now, 'cancelled', '')
  elseif not ENDED[state.status] then
    bell.removed(id, state.queue, state.priority, now)
  end
end

local function leave_lists(task, request)
  local id, state = task.id, task.state
  leave(id, state)
  if state.dead then call('ZREM', key('dead', state.queue), id) end
  if state.listens then listen_no_more(task) end
  if state.ancestors then return end
  local named = {
    id = id, workflow = request.workflow_id, external = request.external_id or '', labels = by_turns(request.labels),
  }
  for _, list in ipairs(lists_of(named)) do call('ZREM', list, id) end
end

local function forget(task)
  local id, state, request = task.id, task.state, cjson.decode(task.request)
  silence(id, state)
  count_totals(state, nil)
  leave_lists(task, request)
  if request.idempotency_key then call('HDEL', NAMESPACE .. 'keys', request.idempotency_key) end
  give_back_definition(request.definition)
  give_back_files(id)
  for _, path in ipairs(call('HKEYS', key('crews', id))) do call('UNLINK', members_key(id, path)) end
  for _, kind in ipairs({'task', 'steps', 'order', 'values', 'files', 'mail', 'mail_index', 'crews', 'children'}) do
    call('UNLINK', key(kind, id))
  end
  bell.forgotten(id, state.queue, state.priority)
end

-- A task after all that descend from it, while there are fewer gone than may; answers whether it is gone.
local function forget_family(id)
  local children = key('children', id)
  for _, member in ipairs(call('ZRANGE', children, 0, most - gone)) do
    if not forget_family(string.match(member, '[^%z]*$')) then return false end
    call('ZREM', children, member)
  end
  if gone == most then return false end
  local task = load(id)
  if task then forget(task) end
  gone = gone + 1
  return true
end

for _, id in ipairs(due({NAMESPACE .. 'ended'}, '(' .. number_text(now - older_than), most)) do
  if not forget_family(id) then break end
end
return {gone, freed}
