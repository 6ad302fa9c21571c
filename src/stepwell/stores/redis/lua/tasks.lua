-- Tasks as they are kept: `task` is a table of id, request (JSON text), state, inline step records (text, see
-- records.lua), and events to append.

-- The state of a task as a JSON array in the order of FIELDS; what is absent or false is 0, and left out at the end. Fields
-- that a newer version has put behind them are kept under their places.
local function encode(state)
  local last = #FIELDS
  while state[last + 1] do last = last + 1 end
  while last <= #FIELDS and (not state[FIELDS[last]] or state[FIELDS[last]] == 0) do last = last - 1 end
  local parts = {}
  for at = 1, last do
    local value = state[FIELDS[at] or at] or 0
    parts[at] = type(value) == 'number' and number_text(value) or cjson.encode(value)
  end
  return '[' .. table.concat(parts, ',') .. ']'
end

local function decode(text)
  local state = {}
  for at, value in ipairs(cjson.decode(text)) do
    if not FIELDS[at] then state[at] = value elseif value ~= 0 then state[FIELDS[at]] = value end
  end
  for _, name in ipairs(NUMBERS) do state[name] = state[name] or 0 end
  return state
end

-- The task with this id; nil if there is none.
local function load(id)
  local found = call('LRANGE', key('task', id), 0, 1)
  if not found[1] then return nil end
  local state, inline = string.match(found[2], '^([^\n]*)\n?(.*)$')
  return {id = id, request = found[1], state = decode(state), inline = inline, events = {}}
end

-- What the caller gets to see of a task.
local function shown(task) return {task.id, task.request, encode(task.state)} end

-- The list, in order of ids, of the tasks in this state and queue; children have lists of their own. Of those that run,
-- which are few, the timers are the list.
local function listing(status, queue, is_child)
  if is_child then return key('child', status .. ':' .. queue) end
  return status == 'running' and key('running', queue) or key('list', status .. ':' .. queue)
end

-- How many tasks, children too, are in this state and queue.
local function number_in(status, queue)
  local number = call('ZCARD', listing(status, queue))
  return status == 'running' and number or number + call('ZCARD', listing(status, queue, true))
end

local function parent_of(state) return state.ancestors and state.ancestors[#state.ancestors] end

-- Whether a child has to be cancelled because of its ancestors, as lifecycle.disowned says.
local function is_disowned(state)
  for _, id in ipairs(state.ancestors or {}) do
    local found = call('LINDEX', key('task', id), 1)
    local ancestor = found and decode(string.match(found, '^[^\n]*'))
    if ancestor and (ENDED[ancestor.status] or ancestor.cancel_requested and not state.undoing) then return true end
  end
  return false
end

-- Events are JSON arrays of time, kind, data, and a path if there is one; data that is but an attempt is its number.
local function tell(task, kind_and_more)
  task.events[#task.events + 1] = '[' .. number_text(now) .. ',' .. kind_and_more
end

-- The state, and in further lines the inline records.
local function state_text(task)
  local text = encode(task.state)
  return task.inline == '' and text or text .. '\n' .. task.inline
end

-- Write the state and the events of a task.
local function keep(task)
  call('LSET', key('task', task.id), 1, state_text(task))
  if #task.events > 0 then call_many('RPUSH', key('task', task.id), task.events, 1) end
  task.events = {}
end

-- Whether the worker that holds the task, if any, holds it under this token.
local function holds(task, token) return task.state.token == token end

-- The task refers to these files.
local function use_files(id, files)
  for _, sha256 in ipairs(files) do
    if call('SADD', key('files', id), sha256) == 1 then call('HINCRBY', NAMESPACE .. 'files', sha256, 1) end
  end
end

-- Of timers the tasks due until `latest`, from the one that is due first: at most so many ids. One whose record somebody
-- removed is dropped, or all others would wait behind it for ever.
local function due(timers, latest, most)
  local found = {}
  for _, at in ipairs(timers) do
    local words = call('ZRANGEBYSCORE', at, '-inf', latest, 'WITHSCORES', 'LIMIT', 0, most)
    for position = 1, #words, 2 do
      local id = words[position]
      if call('EXISTS', key('task', id)) == 1 then
        found[#found + 1] = {id = id, at = tonumber(words[position + 1])}
      else
        call('ZREM', at, id)
      end
    end
  end
  if #timers > 1 then
    table.sort(found, function(a, b) return a.at < b.at or a.at == b.at and a.id < b.id end)
  end
  local ids = {}
  for position = 1, math.min(most, #found) do ids[position] = found[position].id end
  return ids
end

-- The tasks with these ids that are there, as the caller gets to see them.
local function show_all(ids)
  local found = {}
  for _, id in ipairs(ids) do
    local task = call('LRANGE', key('task', id), 0, 1)
    if task[1] then found[#found + 1] = {id, task[1], task[2]} end
  end
  return found
end
