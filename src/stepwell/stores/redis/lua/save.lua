-- Moves of tasks from state to state: each goes through `save`, which keeps everything in step.

-- Write what a task has become.
function save(task)
  local before, after = task.before, task.state
  if before.listens and before.status ~= after.status then listen_no_more(task) end
  tell_move(task, before)
  count(before, after)
  keep(task)
  if before.status ~= after.status then
    leave(task.id, before)
    enter(task)
    mark_dead(task, before)
    ring_for_move(task, before)
    if after.ancestors and ENDED[after.status] and not ENDED[before.status] then leave_crew(task, before) end
  elseif before.dead ~= after.dead then
    mark_dead(task, before)
  end
  return task
end

local function was_released_by(state, token)
  return state.released ~= nil and string.match(state.released, '^[^:]*:(.*)$') == token
end

local function give_up(task)
  task.state.token, task.state.claimed_at = nil, nil
end

-- The ids of the running tasks whose state is `wanted`. Looks at all that run: for what is seldom asked.
local function running(wanted)
  local found = {}
  for _, queue in ipairs(known_queues()) do
    for _, id in ipairs(call('ZRANGE', key('running', queue), 0, -1)) do
      local task = load(id)
      if task and wanted(task.state) then found[#found + 1] = id end
    end
  end
  return found
end

-- Take a task from a worker that is lost; its running time ends with its lease.
local function lose(task, become)
  local state = task.state
  local lease_end = tonumber(call('ZSCORE', key('running', state.queue), task.id) or now)
  local claimed_at = state.claimed_at
  give_up(task)
  become(state, math.min(now, lease_end) - claimed_at, {pause = 0})
  return save(task)
end
