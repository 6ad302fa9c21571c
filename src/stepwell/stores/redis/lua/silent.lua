-- The bell of a store that rings for nobody.
local function nothing() end
local bell = {
  ring = nothing, started = nothing, ended = nothing, removed = nothing, forgotten = nothing,
  next = function() return nothing end,
}
