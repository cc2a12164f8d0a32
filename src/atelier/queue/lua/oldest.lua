-- KEYS: stream
-- Returns the id of the first entry, or nil, and the server's time: ages are told by one clock.
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return {first and first[1] or false, redis.call('TIME')}
