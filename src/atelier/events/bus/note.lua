-- Notes a position, only over the one that was noted last: after a wipe in between, the events just
-- confirmed are gone as well.
-- KEYS: noted; ARGV: expected, position
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end
