-- Adds events, unless the stream has lost some since a position was noted last: those come first.
-- KEYS: stream, noted; ARGV: expected ('' before anything was noted), body...
-- Returns the number of events, or nil when it has.
if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end
for i = 2, #ARGV do redis.call('XADD', KEYS[1], '*', 'body', ARGV[i]) end
return #ARGV - 1
