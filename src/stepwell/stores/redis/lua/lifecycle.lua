-- The state machine of tasks, the second spelling of stepwell.lifecycle: a state goes in and is changed. Each function
-- answers nothing, or the refusal that the caller gets.
local lifecycle = {}

local function conflict(message, status) return {'conflict', message, status} end

local function move(state, status)
  if not TASK_MOVES[state.status][status] then
    return conflict('a ' .. state.status .. ' task cannot become ' .. status, state.status)
  end
  state.status = status
end

local function only(state, allowed, wanted)
  if not allowed[state.status] then
    return conflict('the task is ' .. state.status .. ', and this is for one that is ' .. wanted, state.status)
  end
end

local function unclaimed(state, ran)
  state.worker = nil
  state.ran_for = state.ran_for + math.max(0, ran)
  state.updated_at = now
end

local function forget_error(state)
  state.error, state.error_code, state.error_message = nil, nil, nil
end

function lifecycle.created(state, delay, run_at, is_held)
  local due = math.max(now + delay, run_at)
  state.status = (is_held or due > now) and 'pending' or 'queued'
  state.wake_at = due > now and due or nil
  state.created_at, state.updated_at = now, now
  state.ran_for, state.retry_count, state.crashes, state.step_count = 0, 0, 0, 0
end

function lifecycle.started(state, worker)
  local refusal = move(state, 'running')
  if refusal then return refusal end
  state.started_at = state.started_at or now
  state.worker, state.updated_at = worker, now
end

-- `ending` holds what the worker says of the end: status, outputs, error, pause, due, undoing; and what `has_come`.
function lifecycle.finish(state, ran, ending)
  if not ENDED[ending.status] then
    return conflict('a task cannot finish as ' .. ending.status, state.status)
  end
  local refusal = move(state, ending.status)
  if refusal then return refusal end
  unclaimed(state, ran)
  state.outputs = ending.outputs
  state.error, state.error_code, state.error_message = ending.error, ending.error_code, ending.error_message
  state.completed_at, state.wake_at = now, nil
  state.dead = ending.status == 'failed' and not state.ancestors
end

function lifecycle.suspend(state, ran, ending)
  local refusal = move(state, 'waiting')
  if refusal then return refusal end
  unclaimed(state, ran)
  forget_error(state)
  local is_to_end = state.cancel_requested and not ending.undoing
  if ending.has_come or is_to_end or ending.due and ending.due <= now then
    state.status = 'queued'
  else
    state.wake_at = ending.due
  end
end

function lifecycle.back_off(state, ran, ending)
  local refusal = move(state, 'waiting')
  if refusal then return refusal end
  unclaimed(state, ran)
  state.wake_at = state.cancel_requested and now or now + ending.pause
  state.attempt, state.retry_count = state.attempt + 1, state.retry_count + 1
  state.error, state.error_code, state.error_message = ending.error, ending.error_code, ending.error_message
end

function lifecycle.release(state, ran, ending)
  local refusal = only(state, {running = true}, 'running')
  if refusal then return refusal end
  unclaimed(state, ran)
  if ending.pause <= 0 or state.cancel_requested then
    state.status = 'queued'
  else
    state.status, state.wake_at = 'waiting', now + ending.pause
  end
end

function lifecycle.lost(state, ran)
  local refusal = only(state, {running = true}, 'running')
  if refusal then return refusal end
  local worker = state.worker
  unclaimed(state, ran)
  state.crashes = state.crashes + 1
  if state.crashes >= MAX_CRASHES then
    state.status, state.completed_at, state.dead = 'failed', now, not state.ancestors
    state.error_code = 'worker_lost'
    state.error_message = string.format(
      'its worker was lost %d times without a newly committed step (the last was %s)', state.crashes, worker)
    state.error = cjson.encode(
      {code = state.error_code, message = state.error_message, attempt = state.attempt, retryable = false})
  elseif state.crashes == 1 or state.cancel_requested then
    state.status = 'queued'
  else
    state.status, state.wake_at = 'waiting', now + CRASH_DELAY * 2 ^ (state.crashes - 2)
  end
end

function lifecycle.listens(state) return state.status == 'waiting' and not state.error end

function lifecycle.woken(state)
  local refusal = only(state, {pending = true, waiting = true}, 'pending or waiting')
  if refusal then return refusal end
  state.status, state.wake_at, state.updated_at = 'queued', nil, now
end

function lifecycle.cancelled(state, force)
  local status = state.status
  if status == 'cancelled' then return end
  if ENDED[status] then return conflict('the task is ' .. status .. ' already', status) end
  if state.cancel_requested then return end
  if status == 'running' and not force then
    return conflict('the task is running: cancel it with force to interrupt its steps', status)
  end
  state.updated_at = now
  local has_begun = state.started_at and status ~= 'pending' -- held again: undone before
  if status == 'running' or (state.undo and has_begun) then
    state.cancel_requested = true
    if status == 'waiting' then state.status = 'queued' end
    if state.status == 'queued' then state.wake_at = nil end
    return
  end
  state.wake_at, state.completed_at = nil, now
  return move(state, 'cancelled')
end

function lifecycle.retried(state, attempt, is_held)
  local refusal = only(state, ENDED, 'cancelled or completed or failed')
  if refusal then return refusal end
  state.status = is_held and 'pending' or 'queued'
  state.attempt, state.updated_at = attempt or state.attempt + 1, now
  state.retry_count, state.crashes, state.ran_for = 0, 0, 0
  state.completed_at, state.dead, state.cancel_requested, state.outputs, state.progress = nil, nil, nil, nil, nil
  forget_error(state)
end

function lifecycle.discarded(state)
  local refusal = only(state, {failed = true}, 'failed')
  if refusal then return refusal end
  if state.dead then state.dead, state.updated_at = nil, now end
end

-- The kinds of the events that tell how a task went from one state to the other; `before` is nil for a new one.
function lifecycle.kinds(before, after)
  local kinds = {}
  if not before then
    kinds[1] = 'task.created'
  elseif ENDED[before.status] and not ENDED[after.status] then
    kinds[1] = 'task.retried'
  elseif after.cancel_requested and not before.cancel_requested then
    kinds[1] = 'task.cancel_requested'
  end
  if after.status ~= 'pending' and not (before and before.status == after.status) then
    kinds[#kinds + 1] = 'task.' .. (after.status == 'running' and 'started' or after.status)
  end
  return kinds
end

-- The totals that grow by one; `after` is nil for a task that is purged. An ended task is in the total of its state when
-- it leaves it: until then it is counted by the list that it is in.
function lifecycle.totals(before, after)
  local totals = {}
  if not before then return {'created_total'} end
  local status = after and after.status
  if before.status == status then return {} end
  if ENDED[before.status] then totals[1] = before.status .. '_total' end
  if ENDED[status] and after.error_code == 'timeout' then totals[#totals + 1] = 'timeout_total' end
  if after and after.attempt > before.attempt then totals[#totals + 1] = 'retried_total' end
  return totals
end
