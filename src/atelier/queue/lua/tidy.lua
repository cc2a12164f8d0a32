-- Removes consumers that hold nothing and have not come for a lease.
-- KEYS: stream; ARGV: group, lease (ms)
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  -- name, <name>, pending, <number>, idle, <ms>
  if info[4] == 0 and info[6] > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], info[2])
  end
end
