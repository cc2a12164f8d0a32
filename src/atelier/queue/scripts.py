"""The queue's steps that must be one step, as Lua: each file says what it takes and returns.

Uses only commands that Redis 6.2 and every Valkey have.

A group's entry is *due* when it has been idle for a lease. A heartbeat makes the idle time 0;
putting an entry off sets it, under the name of a consumer that does not exist, so that the rest of
the lease is the pause.
"""

from __future__ import annotations

from functools import partial

from atelier.lua import Script

WAITING = "waiting"  # the consumer that holds what nobody works on

_script = partial(Script, "atelier.queue")

SEND = _script("lua/send.lua")
SEND_SHARED = _script("lua/send_shared.lua")
OLDEST = _script("lua/oldest.lua")
CLAIM = _script("lua/claim.lua")
BEAT = _script("lua/beat.lua")
PUT_OFF = _script("lua/put_off.lua")
LEAVE = _script("lua/leave.lua")
TIDY = _script("lua/tidy.lua")
FINISH = _script("lua/finish.lua")
BURY = _script("lua/bury.lua")
DEAD = _script("lua/dead.lua")
RESEND = _script("lua/resend.lua")
PURGE = _script("lua/purge.lua")
