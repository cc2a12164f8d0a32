-- Replaces each lease that stands by a value, or by nothing where the value is empty.
-- KEYS: keys; ARGV: (lease, value, life in ms)...
-- Returns for each key 1 where the lease stood.
local stood = {}
for i, key in ipairs(KEYS) do
    stood[i] = 0
    -- A fence took the lease's place when a write began: what was loaded before it may be old
    if redis.call('GET', key) == ARGV[3 * i - 2] then
        stood[i] = 1
        if ARGV[3 * i - 1] == '' then redis.call('DEL', key)
        else redis.call('SET', key, ARGV[3 * i - 1], 'PX', ARGV[3 * i]) end
    end
end
return stood
