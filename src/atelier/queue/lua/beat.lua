-- Begins the lease of entries anew.
-- KEYS: stream; ARGV: group, consumer, id...
-- Returns how many the consumer still holds.
local held = 0
for i = 3, #ARGV do
  -- Looked up first: XCLAIM alone would take back what another has taken over meanwhile
  if redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1] then
    -- JUSTID does not count as a delivery
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    held = held + 1
  end
end
return held
