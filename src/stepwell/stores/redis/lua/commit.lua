-- What a worker commits. A record that is stored already tells nothing again.

-- The last record of each path; after a cancel none that announces, unless to undo.
local function allowed(steps, cancelled)
  local kept, place = {}, {}
  for _, step in ipairs(steps) do
    if not (cancelled and step.flag == 'begun') then
      local at = place[step.path] or #kept + 1
      kept[at], place[step.path] = step, at
    end
  end
  return kept
end

local function read_steps(number)
  local steps = {}
  for at = 1, number do
    steps[at] = {
      path = argument(), record = argument(), event = argument(), flag = argument(), apart = argument(),
      files = argument(),
    }
  end
  return steps
end

-- What a worker commits, from the arguments.
local function read_commit()
  local commit = {undoing = argument() == '1', progress = argument(), asked = tonumber(argument())}
  commit.steps = read_steps(commit.asked)
  commit.events = arguments()
  return commit
end

local function member(path, record) return string.match(record, '^[^%z]*%z') .. path end

-- Only tasks with many steps have an index for their pages: it costs as much as the records.
local function index(task, added, moved)
  local order, id = key('order', task.id), task.id
  local words = {}
  if task.state.step_count - #added <= STEPS_WITHOUT_INDEX then
    local all = call('HGETALL', key('steps', id))
    for at = 1, #all, 2 do words[at], words[at + 1] = 0, member(all[at], all[at + 1]) end
  else
    for at, step in ipairs(added) do words[2 * at - 1], words[2 * at] = 0, member(step.path, step.record) end
    for _, step in ipairs(moved) do
      call('ZREM', order, member(step.path, step.before))
      words[#words + 1], words[#words + 2] = 0, member(step.path, step.record)
    end
  end
  call_many('ZADD', order, words, 2)
end

local function sort_out(task, steps)
  local stored = stored_records(task, steps)
  local changed, added, moved = {}, {}, {}
  for at, step in ipairs(steps) do
    if stored[at] ~= step.record then changed[#changed + 1] = step end
    if not stored[at] then
      added[#added + 1] = step
    elseif member(step.path, stored[at]) ~= member(step.path, step.record) then
      step.before, moved[#moved + 1] = stored[at], step
    end
  end
  return changed, added, moved
end

-- Keep the records; answers those that differ from what was there.
local function put_steps(task, steps)
  if #steps == 0 then return steps end
  local changed, added, moved = sort_out(task, steps)
  put_records(task, changed)
  task.state.step_count = task.state.step_count + #added
  if task.state.step_count > STEPS_WITHOUT_INDEX and #added + #moved > 0 then index(task, added, moved) end
  for _, step in ipairs(steps) do
    if step.apart ~= '' then call('HSET', key('values', task.id), 'output:' .. step.path, step.apart) end
    use_files(task.id, split(step.files))
  end
  return changed
end

local function makes_headway(steps)
  for _, step in ipairs(steps) do
    if step.flag == 'ended' then return true end
  end
  return false
end

-- As lifecycle.committed, which stands here so that a commit need not load all moves.
local function committed(state, headway, progress)
  state.updated_at = now
  if headway then state.crashes = 0 end
  if progress ~= '' then state.progress = progress end
end

-- A child whose ancestors are over is to be cancelled from now on.
local function disown(task)
  if task.state.cancel_requested or not is_disowned(task.state) then return end
  task.state.cancel_requested = true
  if task.before then task.before.cancel_requested = true end  -- told here
  tell(task, '"task.cancel_requested",' .. task.state.attempt .. ']')
end

-- Apply a commit to a task that the caller has to save.
local function write(task, commit)
  disown(task)
  local steps = allowed(commit.steps, task.state.cancel_requested and not commit.undoing)
  committed(task.state, makes_headway(steps), commit.progress)
  local changed = put_steps(task, steps)
  for _, step in ipairs(changed) do
    if step.event ~= '' then tell(task, step.event) end
  end
  if #changed > 0 or commit.asked == 0 then
    for _, event in ipairs(commit.events) do tell(task, event) end
  end
end
