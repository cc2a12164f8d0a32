-- Acknowledges an entry and keeps it with the dead letters.
-- KEYS: stream, dead; ARGV: shared (0 or 1), group, id, reason, deliveries, limit
local entry = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
-- One that is gone, because it was finished or trimmed, leaves no letter
if entry then
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[6], '*',
    'body', entry[2][2], 'reason', ARGV[4], 'deliveries', ARGV[5], 'sent', ARGV[3])
end
redis.call('XACK', KEYS[1], ARGV[2], ARGV[3])
if ARGV[1] == '0' then redis.call('XDEL', KEYS[1], ARGV[3]) end
