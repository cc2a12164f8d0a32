-- KEYS: dead; ARGV: count
-- Returns {id, size of the body, reason, deliveries, id when it was sent}..., newest first: bodies
-- hold pictures and stay where they are.
local letters = {}
for i, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[1])) do
  -- body, <bytes>, reason, <text>, deliveries, <number>, sent, <id>
  local fields = entry[2]
  letters[i] = {entry[1], #fields[2], fields[4], fields[6], fields[8]}
end
return letters
