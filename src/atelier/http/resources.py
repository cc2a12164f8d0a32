"""The connections and stores of one process, and the dependency that gives them to routes.

Opens and closes nothing itself.
"""

# ruff: noqa: TC004 - a dataclass does not evaluate its annotations, and importing every adapter
# here would make cycles

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from redis.asyncio import Redis

from atelier.auth import Authenticator, Passwords, Tokens
from atelier.cache import Cache, Memory
from atelier.events.fanout import Fanout
from atelier.http.admission import Uploads
from atelier.http.streams import Streams

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from atelier.auth import Principal
    from atelier.blobs import Blobs
    from atelier.database import Database
    from atelier.http.ratelimit import Limits
    from atelier.http.teams import Teams
    from atelier.queue import Lanes
    from atelier.settings import Settings
    from atelier.wire.allowance import Allowance
    from atelier.wire.trash import Kind

    # Deletes what is in a space that is being deleted, in that transaction.
    Forget = Callable[[AsyncSession, int], Awaitable[None]]
    # Judges the right to a queue; then puts pictures into it, in the caller's transaction, and
    # returns how many were not there.
    Put = Callable[[AsyncSession, Sequence[int]], Awaitable[int]]
    Fill = Callable[[Database, Allowance, Principal, int], Awaitable[Put]]
    # Restores things of a kind from the trash, in that transaction.
    Restore = Callable[[AsyncSession, Cache, Collection[int]], Awaitable[Sequence[str]]]


MEMORY_BYTES = 64 * 1024 * 1024  # of hot pictures that one process keeps beside the shared cache

PROBERS = 2  # threads that look at headers, which takes at most some tens of milliseconds


async def _nobody_listens(_: int) -> None:
    """Of a process that serves no spaces."""


@dataclass(slots=True, kw_only=True)
class Resources:
    """Connections, stores and secrets of an API process; `app.state.resources`."""

    settings: Settings
    database: Database
    redis: Redis
    blobs: Blobs
    cache: Cache
    tokens: Tokens
    authenticator: Authenticator
    limits: Limits
    process_lanes: Lanes
    uploads: Uploads
    passwords: Passwords = field(default_factory=Passwords)
    # Of their own: bad pictures must not hold the threads that read files and send metrics.
    probers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(PROBERS, "prober")
    )
    memory: Memory = field(default_factory=lambda: Memory(MEMORY_BYTES))
    forget: tuple[Forget, ...] = ()
    # Takes a leaving user's name off what they made in teams' spaces, in that transaction.
    disown: tuple[Forget, ...] = ()
    restorers: Mapping[Kind, Restore] = field(default_factory=dict)
    teams: Teams | None = None
    fill: Fill | None = None
    # Tells every process that a user's memberships have changed.
    membership_changed: Callable[[int], Awaitable[None]] = _nobody_listens
    streams: Streams = field(init=False)

    def __post_init__(self) -> None:
        self.streams = Streams(Fanout(self.database), self.settings.event_streams)


async def resources(request: Request) -> Resources:
    """The process's resources."""
    found: Resources = request.app.state.resources
    return found


Res = Annotated[Resources, Depends(resources)]
