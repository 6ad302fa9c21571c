-- Remove tasks that ended long ago, with all that belongs to them; answers how many, and the files that nothing uses now.
local older_than, most = tonumber(argument()), tonumber(argument())
local freed = {}

local function give_back_files(id)
  for _, sha256 in ipairs(call('SMEMBERS', key('files', id))) do
    if call('HINCRBY', NAMESPACE .. 'files', sha256, -1) <= 0 then
      call('HDEL', NAMESPACE .. 'files', sha256)
      freed[#freed + 1] = sha256
    end
  end
end

local function give_back_definition(hash)
  if call('HINCRBY', NAMESPACE .. 'definition_uses', hash, -1) <= 0 then
    call('HDEL', NAMESPACE .. 'definition_uses', hash)
    call('HDEL', NAMESPACE .. 'definitions', hash)
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

local function forget(task)
  local id, state, request = task.id, task.state, cjson.decode(task.request)
  leave(id, state)
  count_totals(state, nil)
  if state.dead then call('ZREM', key('dead', state.queue), id) end
  local named = {
    id = id, workflow = request.workflow_id, external = request.external_id or '', labels = by_turns(request.labels),
  }
  for _, list in ipairs(lists_of(named)) do call('ZREM', list, id) end
  if request.idempotency_key then call('HDEL', NAMESPACE .. 'keys', request.idempotency_key) end
  give_back_definition(request.definition)
  give_back_files(id)
  call('UNLINK', key('task', id), key('steps', id), key('order', id), key('values', id), key('files', id))
  bell.forgotten(id, state.queue, state.priority)
end

local ids = due({NAMESPACE .. 'ended'}, '(' .. number_text(now - older_than), most)
for _, id in ipairs(ids) do forget(load(id)) end
return {#ids, freed}
