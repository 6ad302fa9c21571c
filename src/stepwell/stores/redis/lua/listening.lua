-- What tasks that wait listen to. `listens`, in their state too, are topics by turns with the number of the last
-- publication under it that the task has read (0: it has seen that there is none; negative: it has not looked). The
-- listeners of a topic are in a list, that number as the score.
local function count_listening(listens, change)
  local counted = {}
  for at = 1, #listens, 2 do
    local name = name_of(listens[at])
    if not counted[name] then call('HINCRBY', NAMESPACE .. 'publications', name .. '\0listening', change) end
    counted[name] = true
  end
end

local function listen(task, listens)
  task.state.listens = listens
  for at = 1, #listens, 2 do call('ZADD', key('topic', listens[at]), listens[at + 1], task.id) end
  count_listening(listens, 1)
end

local function listen_no_more(task)
  local listens = task.state.listens
  for at = 1, #listens, 2 do call('ZREM', key('topic', listens[at]), task.id) end
  count_listening(listens, -1)
  task.state.listens = nil
end

-- Whether there is a publication with this topic after the one with this number.
local function is_published(topic, number)
  local first = number_text(number + 1)
  local found = (topic == name_of(topic) and entries_of or numbers_under)(topic, first, 1)
  return #found > 0
end

-- Whether something was published that a task which listens to this has not read.
local function has_published(listens)
  local last = #listens > 0 and tonumber(call('HGET', NAMESPACE .. 'totals', 'publication') or 0)
  for at = 1, #listens, 2 do
    local number = tonumber(listens[at + 1])
    if number >= 0 and number < last and is_published(listens[at], number) then return true end
  end
  return false
end
