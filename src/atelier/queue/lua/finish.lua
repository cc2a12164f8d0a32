-- Acknowledges entries, which leave the stream unless other groups share it.
-- KEYS: stream; ARGV: shared (0 or 1), group, id...
redis.call('XACK', KEYS[1], unpack(ARGV, 2))
if ARGV[1] == '0' then redis.call('XDEL', KEYS[1], unpack(ARGV, 3)) end
