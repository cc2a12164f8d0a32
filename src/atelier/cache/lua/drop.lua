-- Takes one writer off each fence; the last ends it.
-- KEYS: keys
for _, key in ipairs(KEYS) do
    local found = redis.call('GET', key)
    local writers = found and found:sub(1, 1) == 'f' and tonumber(found:sub(2)) or 1
    -- KEEPTTL: a writer that died must not have its fence prolonged by those who live
    if writers > 1 then redis.call('SET', key, 'f' .. (writers - 1), 'KEEPTTL')
    else redis.call('DEL', key) end
end
return 1
