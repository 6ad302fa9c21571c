-- Extend leases: pairs of task id and token. Answers `held`, `cancelled` or `lost` for each.
local claims, answers = arguments(), {}
for at = 1, #claims, 2 do
  local task = load(claims[at])
  local answer = 'lost'
  if task and holds(task, claims[at + 1]) then
    call('ZADD', key('running', task.state.queue), number_text(now + LEASE_SECONDS), task.id)
    answer = (task.state.cancel_requested or is_disowned(task.state)) and 'cancelled' or 'held'
  end
  answers[#answers + 1] = answer
end
return answers
