-- Mailboxes. A message is a text with NULs between its parts; its id is its place in the list, from 1 on, and stays so: one
-- that is forgotten leaves an empty text. A hash beside the list tells under which name and key there was a message first,
-- the state of the task the id of the last one.

-- Append a message, and wake the task if it listens; the caller has to save it. Answers the id.
local function post(task, name, payload, sender, known_by)
  local message = table.concat({name, number_text(now), sender, known_by, payload}, '\0')
  local id, index = call('RPUSH', key('mail', task.id), message), key('mail_index', task.id)
  call('HSETNX', index, 'name ' .. name, id)
  if known_by ~= '' then call('HSETNX', index, 'key ' .. known_by, id) end
  task.state.mail = id
  if lifecycle.listens(task.state) then lifecycle.woken(task.state) end
  return id
end

-- The message with this id, as the caller gets it.
local function message_at(task, id) return call('LINDEX', key('mail', task.id), id - 1) end

-- All messages of a task: most have none, and need no command to tell.
local function all_mail(task)
  return task.state.mail and call('LRANGE', key('mail', task.id), 0, -1) or {}
end

-- Remove the messages with these ids; each is followed by its name and its key. `last` is the id of the last one that
-- stays, or empty.
local function forget_mail(task, words, last)
  for at = 1, #words, 3 do
    call('LSET', key('mail', task.id), words[at] - 1, '')
    call('HDEL', key('mail_index', task.id), 'name ' .. words[at + 1], 'key ' .. words[at + 2])
  end
  task.state.mail = tonumber(last)
end
