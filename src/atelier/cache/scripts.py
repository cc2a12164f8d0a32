"""What Redis does in one step for the cache: look up and lease, fill under a lease, fence, and end a fence."""

from __future__ import annotations

# For each key what it holds; one that holds nothing gets the lease ARGV[1], if there is one.
LOOK = """
local found = {}
for i, key in ipairs(KEYS) do
    found[i] = redis.call('GET', key)
    if not found[i] and ARGV[1] ~= '' then redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
end
return found
"""
# For each key: if the lease stands, replace it by the value, or by nothing when that is empty; 1
# where it stood.
FILL = """
local stood = {}
for i, key in ipairs(KEYS) do
    stood[i] = 0
    if redis.call('GET', key) == ARGV[3 * i - 2] then
        stood[i] = 1
        if ARGV[3 * i - 1] == '' then redis.call('DEL', key)
        else redis.call('SET', key, ARGV[3 * i - 1], 'PX', ARGV[3 * i]) end
    end
end
return stood
"""
# Fences count their writers, so that the first of two to finish does not take the other's away.
FENCE = """
for _, key in ipairs(KEYS) do
    local found, writers = redis.call('GET', key), 1
    if found and found:sub(1, 1) == 'f' then writers = tonumber(found:sub(2)) + 1 end
    redis.call('SET', key, 'f' .. writers, 'PX', ARGV[1])
end
return 1
"""
DROP = """
for _, key in ipairs(KEYS) do
    local found = redis.call('GET', key)
    local writers = found and found:sub(1, 1) == 'f' and tonumber(found:sub(2)) or 1
    if writers > 1 then redis.call('SET', key, 'f' .. (writers - 1), 'KEEPTTL')
    else redis.call('DEL', key) end
end
return 1
"""
