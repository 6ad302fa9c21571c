-- Step records. Each is kept as a text (its position, a NUL, and what only Python reads) under its path: the few and
-- short ones of a small task beside its state, by turns with their paths, those of others in a hash. The caller has to
-- save the task.
local SEPARATOR = '\1'

local function is_inline(task) return task.inline ~= '' or task.state.step_count == 0 end

local function all_records(task)
  return is_inline(task) and split(task.inline, SEPARATOR) or call('HGETALL', key('steps', task.id))
end

-- The records that are stored for these steps, in this order; false where there is none.
local function stored_records(task, steps)
  if not is_inline(task) then
    local paths = {}
    for at, step in ipairs(steps) do paths[at] = step.path end
    return call_many('HMGET', key('steps', task.id), paths, 1)
  end
  local by_path, found = {}, {}
  local words = all_records(task)
  for at = 1, #words, 2 do by_path[words[at]] = words[at + 1] end
  for at, step in ipairs(steps) do found[at] = by_path[step.path] or false end
  return found
end

-- Paths and records by turns, with these steps' records in place of those that were there.
local function replaced(words, steps)
  local place = {}
  for at = 1, #words, 2 do place[words[at]] = at end
  for _, step in ipairs(steps) do
    local at = place[step.path] or #words + 1
    words[at], words[at + 1] = step.path, step.record
  end
  return words
end

local function put_records(task, steps)
  if #steps == 0 then return end
  if not is_inline(task) then
    call_many('HSET', key('steps', task.id), replaced({}, steps), 2)
    return
  end
  local words = replaced(all_records(task), steps)
  task.inline = #words <= 2 * INLINE_STEPS and table.concat(words, SEPARATOR) or ''
  if #task.inline > INLINE_BYTES then task.inline = '' end
  if task.inline == '' then call_many('HSET', key('steps', task.id), words, 2) end
end
