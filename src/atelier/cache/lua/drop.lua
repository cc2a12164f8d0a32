-- Takes one writer off each fence; the last ends it.
-- KEYS: keys
for _, key in ipairs(KEYS) do
    local found = redis.call('GET', key)
    local writers = found and found:sub(1, 1) == 'f' and tonumber(found:sub(2)) or 1
    -- A writer that died must not have its fence prolonged by those who live
    local life = redis.call('PTTL', key)
    -- Also before a SET: see fence.lua
    redis.call('DEL', key)
    if writers > 1 and life > 0 then redis.call('SET', key, 'f' .. (writers - 1), 'PX', life) end
end
return 1
