-- KEYS: dead
-- Returns how many letters were thrown away.
local count = redis.call('XLEN', KEYS[1])
redis.call('DEL', KEYS[1])
return count
