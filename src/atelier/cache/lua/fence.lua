-- Puts a fence on each key: it forgets what it held, and nobody fills it.
-- KEYS: keys; ARGV: life (ms), after which a fence ends by itself
for _, key in ipairs(KEYS) do
    -- Fences count their writers: the first of two to finish must not take the other's away
    local found, writers = redis.call('GET', key), 1
    if found and found:sub(1, 1) == 'f' then writers = tonumber(found:sub(2)) + 1 end
    redis.call('SET', key, 'f' .. writers, 'PX', ARGV[1])
end
return 1
