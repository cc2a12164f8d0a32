-- Makes a dead letter a job again.
-- KEYS: stream, dead; ARGV: limit, id
-- Returns the new id, '' when there is no such letter, nil when there is no room.
local entry = redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[2])[1]
if not entry then return '' end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return false end
redis.call('XDEL', KEYS[2], ARGV[2])
return redis.call('XADD', KEYS[1], '*', 'body', entry[2][2])
