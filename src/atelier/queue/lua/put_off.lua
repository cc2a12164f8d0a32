-- Lets entries wait, if they are still the consumer's.
-- KEYS: stream; ARGV: group, consumer, waiting consumer, (id, idle time in ms, deliveries)...
for i = 4, #ARGV, 3 do
  if redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1] then
    -- Due when its idle time has grown to a lease: the rest of the lease is the pause
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[i],
      'IDLE', ARGV[i + 1], 'RETRYCOUNT', ARGV[i + 2], 'JUSTID')
  end
end
