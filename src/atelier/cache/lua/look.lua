-- KEYS: keys; ARGV: lease ('' for none), its life (ms), bytes of values after which to stop
-- Returns for each key what it holds; one that holds nothing gets the lease. Shorter than KEYS
-- where it stopped: what a client has yet to read counts as Redis's memory.
local found, bytes = {}, 0
for i, key in ipairs(KEYS) do
    found[i] = redis.call('GET', key)
    if found[i] then
        bytes = bytes + #found[i]
        if bytes > tonumber(ARGV[3]) then break end
    -- A full Redis refuses the lease: then the reader loads without one and fills nothing
    elseif ARGV[1] ~= '' then redis.pcall('SET', key, ARGV[1], 'PX', ARGV[2]) end
end
return found
