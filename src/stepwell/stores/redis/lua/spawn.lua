-- Make children of a step, or retry those that failed in an earlier round.
local id, token, path = argument(), argument(), argument()
local task = load(id)
if not task then return {'missing'} end
if not holds(task, token) then return {'lost'} end

local function read_wanted()
  return {
    round = tonumber(argument()), total = tonumber(argument()), at_once = tonumber(argument()),
    allowed = tonumber(argument()), wanted = tonumber(argument()), active = 0, completed = 0, failed = 0, told = 0,
  }
end

-- As lifecycle.recrewed.
local function recrewed(before, wanted)
  if before and wanted.round <= before.round then return before end
  if before then
    wanted.active, wanted.completed, wanted.told = before.active, before.completed, before.told
  end
  wanted.closed = wanted.completed >= wanted.wanted and 1 or 0
  return wanted
end

local crew, texts = recrewed(load_crew(id, path), read_wanted()), read_definitions()
local is_cancelled = task.state.cancel_requested or is_disowned(task.state)

local function join(child, is_held)
  call('ZADD', members_key(id, path), is_held and (child.state.index or 0) or -1, child.id)
  if not is_held then crew.active = crew.active + 1 end
end

-- As lifecycle.begins_again.
local function begins_again(child, new)
  local state = child.state
  return ENDED[state.status] and state.status ~= 'completed' and state.attempt < new.state.attempt
end

-- The request that was sent is the child's own, revised.
local function retry(child, new, is_held)
  lifecycle.retried(child.state, new.state.attempt, is_held)
  revise(child, {
    request = new.request, before = cjson.decode(child.request).definition, definition = new.definition,
    text = texts[new.definition], undo = new.state.undo, has_variables = true, variables = new.variables,
    files = new.files,
  })
  call('HDEL', key('values', new.id), 'outputs')
  save(child)
end

local function make(new)
  if crew.closed == 1 or is_cancelled and not new.state.undoing then return end
  local child, is_held = load_to_move(new.id), not has_place(crew)
  if not child then
    lifecycle.created(new.state, new.delay, new.run_at, is_held)
    put(new, texts)
  elseif begins_again(child, new) then
    retry(child, new, is_held)
  else
    return
  end
  join(new, is_held)
end

release_held(id, path, crew)
for _ = 1, tonumber(argument()) do make(read_new()) end
tell_if_over(id, path, crew)
keep_crew(id, path, crew)
return {'ok', crew_text(crew)}
