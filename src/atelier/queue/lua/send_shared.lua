-- Adds a job to one of two streams: to the second what a sender sends beyond its share.
-- KEYS: first stream, second stream, the sender's counter; ARGV: limit, share, seconds, body
-- Returns its id, or nil when there is no room.
local sent = redis.call('INCR', KEYS[3])
if sent == 1 then redis.call('EXPIRE', KEYS[3], ARGV[3]) end
local stream = KEYS[1]
if sent > tonumber(ARGV[2]) then stream = KEYS[2] end
if redis.call('XLEN', stream) >= tonumber(ARGV[1]) then return false end
return redis.call('XADD', stream, '*', 'body', ARGV[4])
