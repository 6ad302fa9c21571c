-- Snapshots of workflows, kept for as long as a task uses them.

local function use_definition(hash, text)
  call('HSETNX', NAMESPACE .. 'definitions', hash, text)
  call('HINCRBY', NAMESPACE .. 'definition_uses', hash, 1)
end

local function give_back_definition(hash)
  if call('HINCRBY', NAMESPACE .. 'definition_uses', hash, -1) <= 0 then
    call('HDEL', NAMESPACE .. 'definition_uses', hash)
    call('HDEL', NAMESPACE .. 'definitions', hash)
  end
end
