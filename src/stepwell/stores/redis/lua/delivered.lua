-- A group has done its work for a publication, which so many tasks received.
local group, name, number, received = argument(), argument(), argument(), argument()
if call('XACK', NAMESPACE .. 'deliveries', group, number .. '-0') == 1 then
  call('HINCRBY', NAMESPACE .. 'publications', name .. '\0received', received)
end
return 'ok'
