-- Append to the audit log, whose ids are numbers; the entry's own time is set by the reader.
local entry, kept = argument(), argument()
local number = call('HINCRBY', NAMESPACE .. 'totals', 'audit', 1)
call('XADD', NAMESPACE .. 'audit', 'MAXLEN', kept, number .. '-0', 'at', number_text(now), 'entry', entry)
return 'ok'
