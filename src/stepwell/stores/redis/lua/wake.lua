-- Queue the tasks whose time has come.
local ids = due({NAMESPACE .. 'asleep'}, number_text(now), tonumber(argument()))
for _, id in ipairs(ids) do
  local task = load_to_move(id)
  lifecycle.woken(task.state)
  save(task)
end
return show_all(ids)
