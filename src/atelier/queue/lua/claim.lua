-- Takes over what is due.
-- KEYS: stream; ARGV: group, consumer, lease (ms), count
-- Returns {id, body, deliveries}... of what is the consumer's now.
--
-- Not XAUTOCLAIM, which does not tell how often an entry has been delivered.
local taken = {}
for _, due in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4])) do
  local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, due[1])[1]
  if entry then
    taken[#taken + 1] = {due[1], entry[2][2], due[4] + 1}
  else
    -- The entry has been deleted from the stream and is pending still: it would be due for ever
    redis.call('XACK', KEYS[1], ARGV[1], due[1])
  end
end
return taken
