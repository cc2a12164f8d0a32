-- Replaces each lease that stands by a value, or by nothing where the value is empty; then forgets
-- what expires first until all values are within the budget.
-- KEYS: index of the values by expiry, their bytes, keys...
-- ARGV: budget (bytes), overhead of a value (bytes), evictions at most, then
--       (lease, value, life in ms)...
-- Returns for each key 1 where the lease stood.
local index, total = KEYS[1], KEYS[2]
local budget, overhead, evictions = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local stood, ended, added, life, full = {}, {}, {}, 0, false

for i = 1, #KEYS - 2 do
    local key, lease, value, ms = KEYS[i + 2], ARGV[3 * i + 1], ARGV[3 * i + 2], ARGV[3 * i + 3]
    stood[i] = 0
    -- A fence took the lease's place when a write began: what was loaded before it may be old
    if redis.call('GET', key) == lease then
        stood[i] = 1
        -- Before any other write: a full Redis refuses a script's first write, not those after it
        local set = value ~= '' and not full and redis.pcall('SET', key, value, 'PX', ms)
        full = full or (set and set.err) and true or false
        if set and not set.err then
            added[#added + 1] = {key = key, size = #value + overhead, ms = tonumber(ms)}
            life = math.max(life, tonumber(ms))
        else ended[#ended + 1] = key end
    end
end
for _, key in ipairs(ended) do redis.call('DEL', key) end
if #added == 0 then return stood end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = tonumber(redis.call('GET', total) or 0)
for _, one in ipairs(added) do
    -- Counted already where the same key held as much before, and that has expired
    if redis.call('ZADD', index, now + one.ms, one.size .. ':' .. one.key) == 1 then
        held = held + one.size
    end
end
-- Values that have expired by themselves are still counted; they come first
while held > budget and evictions > 0 do
    local first = redis.call('ZPOPMIN', index)[1]
    if not first then held = 0 break end
    local size, key = first:match('^(%d+):(.*)$')
    held, evictions = held - size, evictions - 1
    -- By now the key may hold another value, a lease, or a fence, which must stay
    if redis.call('STRLEN', key) == size - overhead
        and redis.call('GETRANGE', key, 0, 0) == 'v' then redis.call('DEL', key) end
end
-- Both outlive the values by nothing: a restarted Redis has other keys
life = math.max(life, redis.call('PTTL', index))
redis.call('PEXPIRE', index, life)
redis.call('SET', total, held, 'PX', life)
return stood
