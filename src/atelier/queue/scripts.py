"""The queue's steps that must be one step, as Lua.

Uses only commands that Redis 6.2 and every Valkey have.

A group's entry is *due* when it has been idle for a lease. A heartbeat makes the idle time 0;
putting an entry off sets it, under the name of a consumer that does not exist, so that the rest of
the lease is the pause.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

Argument = str | bytes | int

WAITING = "waiting"  # the consumer that holds what nobody works on


class Script:
    """A Lua script: called by its digest, sent in full when the server has lost it."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._digest = sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Redis, keys: tuple[str, ...], *args: Argument) -> Any:
        """Run the script on `redis`."""
        try:
            return await redis.evalsha(self._digest, len(keys), *keys, *args)
        except NoScriptError:
            return await redis.eval(self._source, len(keys), *keys, *args)


# (stream) limit, body... -> ids, or nil when there is no room for all
SEND = Script("""
if redis.call('XLEN', KEYS[1]) + #ARGV - 1 > tonumber(ARGV[1]) then return false end
local ids = {}
for i = 2, #ARGV do ids[i - 1] = redis.call('XADD', KEYS[1], '*', 'body', ARGV[i]) end
return ids
""")

# (stream) -> id of the first entry, or nil, and the server's time
OLDEST = Script("""
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return {first and first[1] or false, redis.call('TIME')}
""")

# (stream) group, consumer, lease, count -> {id, body, deliveries}... of what was due and is the
# consumer's now
CLAIM = Script("""
local taken = {}
for _, due in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4])) do
  local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, due[1])[1]
  if entry then
    taken[#taken + 1] = {due[1], entry[2][2], due[4] + 1}
  else
    redis.call('XACK', KEYS[1], ARGV[1], due[1])
  end
end
return taken
""")

# (stream) group, consumer, id... -> how many the consumer still holds; their idle time starts anew
BEAT = Script("""
local held = 0
for i = 3, #ARGV do
  if redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    held = held + 1
  end
end
return held
""")

# (stream) group, consumer, waiting, (id, idle, deliveries)...: entries wait, if they are still the
# consumer's
PUT_OFF = Script("""
for i = 4, #ARGV, 3 do
  if redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[i],
      'IDLE', ARGV[i + 1], 'RETRYCOUNT', ARGV[i + 2], 'JUSTID')
  end
end
""")

# (stream) group, consumer, waiting, lease, refund: everything of the consumer is due, and its name
# goes
LEAVE = Script("""
local count = 0
repeat
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100, ARGV[2])
  for _, entry in ipairs(held) do
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, entry[1],
      'IDLE', ARGV[4], 'RETRYCOUNT', math.max(entry[4] - ARGV[5], 0), 'JUSTID')
  end
  count = count + #held
until #held == 0
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return count
""")

# (stream) group, lease: consumers that hold nothing and have not come for a lease are removed
TIDY = Script("""
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  if info[4] == 0 and info[6] > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], info[2])
  end
end
""")

# (stream) shared, group, id...: done, and gone from the stream unless other groups share it
FINISH = Script("""
redis.call('XACK', KEYS[1], unpack(ARGV, 2))
if ARGV[1] == '0' then redis.call('XDEL', KEYS[1], unpack(ARGV, 3)) end
""")

# (stream, dead) shared, group, id, reason, deliveries, limit: done, and kept with the dead letters
BURY = Script("""
local entry = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
if entry then
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[6], '*',
    'body', entry[2][2], 'reason', ARGV[4], 'deliveries', ARGV[5], 'sent', ARGV[3])
end
redis.call('XACK', KEYS[1], ARGV[2], ARGV[3])
if ARGV[1] == '0' then redis.call('XDEL', KEYS[1], ARGV[3]) end
""")

# (dead) count -> {id, size of the body, reason, deliveries, id when it was sent}..., newest first
DEAD = Script("""
local letters = {}
for i, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[1])) do
  local fields = entry[2]
  letters[i] = {entry[1], #fields[2], fields[4], fields[6], fields[8]}
end
return letters
""")

# (stream, dead) limit, id -> the new id, '' when there is no such letter, nil when there is no
# room
RESEND = Script("""
local entry = redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[2])[1]
if not entry then return '' end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return false end
redis.call('XDEL', KEYS[2], ARGV[2])
return redis.call('XADD', KEYS[1], '*', 'body', entry[2][2])
""")

# (dead) -> how many were thrown away
PURGE = Script("""
local count = redis.call('XLEN', KEYS[1])
redis.call('DEL', KEYS[1])
return count
""")
