-- Puts a fence on each key: it forgets what it held, and nobody fills it.
-- KEYS: index of the values by expiry, their bytes, keys...
-- ARGV: life (ms), after which a fence ends by itself; overhead of a value (bytes)
local index, total = KEYS[1], KEYS[2]
for i = 3, #KEYS do
    local key = KEYS[i]
    local found, writers = redis.call('GET', key), 1
    local kind = found and found:sub(1, 1)
    -- Fences count their writers: the first of two to finish must not take the other's away
    if kind == 'f' then writers = tonumber(found:sub(2)) + 1 end
    -- First: a full Redis refuses a script whose first write needs memory, and no write after it.
    -- Else nothing could be changed while it is full
    redis.call('DEL', key)
    redis.call('SET', key, 'f' .. writers, 'PX', ARGV[1])
    if kind == 'v' then
        local size = #found + tonumber(ARGV[2])
        if redis.call('ZREM', index, size .. ':' .. key) == 1 then
            redis.call('DECRBY', total, size)
        end
    end
end
return 1
