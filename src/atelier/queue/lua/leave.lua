-- Makes everything of a consumer due and forgets its name.
-- KEYS: stream; ARGV: group, consumer, waiting consumer, lease (ms), deliveries to take back
-- Returns how many entries that were.
local count = 0
repeat
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100, ARGV[2])
  for _, entry in ipairs(held) do
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, entry[1],
      'IDLE', ARGV[4], 'RETRYCOUNT', math.max(entry[4] - ARGV[5], 0), 'JUSTID')
  end
  count = count + #held
until #held == 0
-- Only now: with a consumer go its pending entries, and those nobody would ever claim
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return count
