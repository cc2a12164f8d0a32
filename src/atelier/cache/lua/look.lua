-- KEYS: keys; ARGV: lease ('' for none), its life (ms)
-- Returns for each key what it holds; one that holds nothing gets the lease.
local found = {}
for i, key in ipairs(KEYS) do
    found[i] = redis.call('GET', key)
    if not found[i] and ARGV[1] ~= '' then redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
end
return found
