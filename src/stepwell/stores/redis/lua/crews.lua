-- Crews, the second spelling of stepwell.lifecycle.crews, and the children in them. A list beside each crew holds its
-- children that are neither ended nor cancelled: those that are held with their index as the score, others with -1.
local CREW = {
  'round', 'total', 'at_once', 'allowed', 'wanted', 'active', 'completed', 'failed', 'closed', 'told',
}
local MAX_RELEASED = 1000

local function members_key(parent, path) return key('crew', parent .. '\0' .. path) end

local function load_crew(parent, path)
  local text = call('HGET', key('crews', parent), path)
  if not text then return nil end
  local crew = {}
  for at, number in ipairs(split(text, ' ')) do crew[CREW[at]] = tonumber(number) end
  return crew
end

local function crew_text(crew)
  local numbers = {}
  for at, name in ipairs(CREW) do numbers[at] = number_text(crew[name]) end
  return table.concat(numbers, ' ')
end

local function keep_crew(parent, path, crew) call('HSET', key('crews', parent), path, crew_text(crew)) end

local function has_place(crew) return crew.closed == 0 and crew.active < crew.at_once end

local function is_over(crew)
  return crew.active == 0 and (crew.closed == 1 or crew.completed + crew.failed >= crew.total)
end

-- Tell the parent, once in each round, that nothing of the crew goes on. `told` is the round of which it knows.
local function tell_if_over(parent, path, crew)
  if crew.told == crew.round or not is_over(crew) then return end
  crew.told = crew.round
  local task = load_to_move(parent)
  if task then
    post(task, 'crew:' .. path, number_text(crew.round), '', '')
    save(task)
  end
end

-- Queue children that were held, the first ones first, while there are places.
local function release_held(parent, path, crew)
  local members = members_key(parent, path)
  for _ = 1, MAX_RELEASED do
    local id = has_place(crew) and call('ZRANGEBYSCORE', members, 0, '+inf', 'LIMIT', 0, 1)[1]
    if not id then return end
    call('ZADD', members, -1, id)
    local child = load_to_move(id)
    if child and child.state.status == 'pending' then
      crew.active = crew.active + 1
      lifecycle.woken(child.state)
      save(child)
    end
  end
end

-- A child has ended: the next one has its place, or the crew is over.
local function leave_crew(child, before)
  local state = child.state
  local parent, path = parent_of(state), state.place or ''
  call('ZREM', members_key(parent, path), child.id)
  local crew = load_crew(parent, path)
  if not crew then return end
  if before.status ~= 'pending' then crew.active = crew.active - 1 end
  local counter = state.status == 'completed' and 'completed' or 'failed'
  crew[counter] = crew[counter] + 1
  if crew.failed > crew.allowed or crew.completed >= crew.wanted then crew.closed = 1 end
  release_held(parent, path, crew)
  tell_if_over(parent, path, crew)
  keep_crew(parent, path, crew)
end
