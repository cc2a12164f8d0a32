-- Adds jobs to a stream, all or none.
-- KEYS: stream; ARGV: limit, body...
-- Returns their ids, or nil when there is no room for all.
if redis.call('XLEN', KEYS[1]) + #ARGV - 1 > tonumber(ARGV[1]) then return false end
local ids = {}
for i = 2, #ARGV do ids[i - 1] = redis.call('XADD', KEYS[1], '*', 'body', ARGV[i]) end
return ids
