-- Claiming: how a queued task comes to a worker.

-- A held claim as the caller gets it: the task, when it was claimed, its step records by path, and its mail.
local function claim_answer(task)
  return {'ok', shown(task), number_text(task.state.claimed_at), all_records(task), all_mail(task)}
end

-- Whether this token may have the task; `paused` is the set of queues that wait.
local function is_claimable(task, token, paused)
  local state = task.state
  return state.status == 'queued' and state.format <= FORMAT and not paused[state.queue]
    and not was_released_by(state, token)
end

local function start(task, token, worker)
  if not task.state.cancel_requested and is_disowned(task.state) then task.state.cancel_requested = true end
  lifecycle.started(task.state, worker)
  task.state.token, task.state.claimed_at = token, now
  return save(task)
end

local function paused_queues()
  local paused = {}
  for _, queue in ipairs(call('SMEMBERS', NAMESPACE .. 'paused')) do paused[queue] = true end
  return paused
end

-- The task that is held under this token.
local function held_under(token)
  local held = running(function(state) return state.token == token end)
  return held[1] and load(held[1])
end
