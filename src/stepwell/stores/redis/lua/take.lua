-- Claim the next task that the bell names and that can be claimed, or answer again what this token took.
local is_repeat, token, worker, queues = argument() == '1', argument(), argument(), arguments()
local held = is_repeat and held_under(token)
if held then return claim_answer(held) end
local paused, open = paused_queues(), {}
for _, queue in ipairs(queues) do
  if not paused[queue] then open[#open + 1] = queue end
end
for id in bell.next(open) do  -- which ends by itself after many
  local task = load_to_move(id)
  if task and is_claimable(task, token, paused) then
    start(task, token, worker)
    bell.started(id, task.state.queue, task.state.priority, token, worker, now)
    return claim_answer(task)
  end
end
return {'none'}
