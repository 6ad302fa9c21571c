-- What a retry changes of what a task was created with.

-- A `revision` holds the new request, the hashes of the definitions `before` and after with the new text, `undo` (nil: as
-- it was), whether there are new variables, these if they are stored apart, and files.
local function revise(task, revision)
  local values = key('values', task.id)
  call('LSET', key('task', task.id), 0, revision.request)
  task.request = revision.request
  if revision.definition ~= revision.before then
    use_definition(revision.definition, revision.text)
    give_back_definition(revision.before)
  end
  if revision.undo ~= nil then task.state.undo = revision.undo end
  if revision.has_variables then call('HDEL', values, 'variables') end
  if revision.variables ~= '' then call('HSET', values, 'variables', revision.variables) end
  use_files(task.id, revision.files)
end
