"""Tells every process at once which sessions have ended; without Redis, within a minute.

Knows no table: announcements are already committed.
"""

from __future__ import annotations

import asyncio
import logging

from redis.asyncio import Redis
from redis.exceptions import RedisError

from atelier.auth import Authenticator

CHANNEL = "atelier:revoked"
SESSION, USER, ALL = "session", "user", "all"
REDIS_SECONDS = 1.0  # the longest that a sign-out waits for the others to be told
AGAIN_SECONDS = 1.0  # between attempts to listen

log = logging.getLogger(__name__)


async def announce(
    redis: Redis,
    authenticator: Authenticator,
    *,
    session_id: str | None = None,
    user_id: int | None = None,
) -> None:
    """Forget the tokens of a session or user here now, and elsewhere when the message arrives."""
    authenticator.drop(session_id=session_id, user_id=user_id)
    await tell(redis, f"{SESSION} {session_id}" if session_id else f"{USER} {user_id}")


async def tell(redis: Redis, word: str) -> None:
    """Send a word such as `user 7` or `all` to every process that follows."""
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            await redis.publish(CHANNEL, word)
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("other processes learn within a minute of an ended session: %s", error)


async def follow(redis: Redis, authenticator: Authenticator) -> None:
    """Forget the sessions that other processes announce, until cancelled."""
    while True:
        try:
            await _listen(redis, authenticator)
        except (RedisError, OSError) as error:
            log.warning("not hearing of ended sessions at once: %s", error)
            await asyncio.sleep(AGAIN_SECONDS)


async def _listen(redis: Redis, authenticator: Authenticator) -> None:
    async with redis.pubsub() as channel:
        await channel.subscribe(CHANNEL)
        async for message in channel.listen():
            if message["type"] == "subscribe":
                authenticator.clear()  # announcements may have been missed
            elif message["type"] == "message":
                _forget(authenticator, message["data"].decode(errors="replace"))


def _forget(authenticator: Authenticator, word: str) -> None:
    kind, _, name = word.partition(" ")
    if kind == SESSION:
        authenticator.drop(session_id=name)
    elif kind == USER and name.isdecimal():
        authenticator.drop(user_id=int(name))
    elif word == ALL:
        authenticator.clear()
