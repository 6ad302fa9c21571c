-- Claim one task, or answer again what this token claimed.
local id, token, worker = argument(), argument(), argument()
local task = load_to_move(id)
if not task then return {'none'} end
if holds(task, token) then return claim_answer(task) end
if not is_claimable(task, token, paused_queues()) then return {'none'} end
return claim_answer(start(task, token, worker))
