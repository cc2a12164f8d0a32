"""Sends the outbox to the bus, at least once and in order per subject; runs the reconciler.

Of any number of relays one is active: the one whose connection holds the advisory lock. The same
connection reads and stamps events. `run` knows no slice: the reconciler's work is passed in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

import asyncpg
import msgspec

from atelier import locks
from atelier.database import ERRORS, KEEPALIVE
from atelier.events.bus import Bus
from atelier.events.outbox import COLUMNS, SENT_CHANNEL, WAKE_CHANNEL, event_of
from atelier.observe import tracing
from atelier.observe.health import pulse
from atelier.observe.metrics import ACTIVE, CONFIRMED, SENT
from atelier.retry import Backoff, end

Answer = TypeVar("Answer")

log = logging.getLogger("atelier.relay")

# Events read, published and stamped at a time; a crash sends at most two batches twice.
BATCH = 256
POLL_SECONDS = 1.0  # while asleep, between polls without a notification
BUSY_SECONDS = 0.02  # between polls while a transaction that has written events is open
# Between tries for the lock: a statement that waits for it would hold up vacuum everywhere.
STANDBY_SECONDS = 1.0
# The first and the longest pause after a failure of bus or database; each doubles the last.
PAUSES_SECONDS = 0.1, 5.0
STATEMENT_SECONDS = 30  # a statement that takes longer means that the connection is dead
GRACE_SECONDS = 5.0  # for the batch under way when the relay is stopped
CLOSE_SECONDS = 2.0  # for a goodbye to a database that may have stopped to answer
SERVER_SETTINGS = {"application_name": "atelier relay"} | KEEPALIVE

_TRY_LOCK = f"SELECT pg_try_advisory_lock({locks.RELAY_CLASS}, $1)"
_UNLOCK = f"SELECT pg_advisory_unlock({locks.RELAY_CLASS}, $1)"
START = """
    INSERT INTO relay_position (position) SELECT coalesce(max(position), 0) FROM outbox
    ON CONFLICT DO NOTHING
"""
# Select unsent rows, not rows "after the last id": a lower id may be committed later.
UNSENT = f"""
    SELECT id, {COLUMNS} FROM outbox
    WHERE position IS NULL AND id <> ALL($1::bigint[]) ORDER BY id LIMIT {BATCH}
"""
AGAIN = f"""
    SELECT position, {COLUMNS} FROM outbox
    WHERE position > $1 AND sent_at > clock_timestamp() - interval '1 day'
    ORDER BY position LIMIT {BATCH}
"""
_ANY_UNSENT = "SELECT EXISTS (SELECT FROM outbox WHERE position IS NULL)"
# `= ANY` and not a join with the array: with the join, stale statistics could lead to a plan that
# reads the whole backlog.
STAMP = f"""
    WITH relay AS (
        UPDATE relay_position SET position = position + cardinality($1::bigint[])
        RETURNING position - cardinality($1::bigint[]) AS before
    ), stamped AS (
        UPDATE outbox
        SET position = relay.before + array_position($1::bigint[], outbox.id),
            sent_at = clock_timestamp()
        FROM relay WHERE outbox.id = ANY($1::bigint[]) AND outbox.position IS NULL
        RETURNING outbox.type
    )
    SELECT count(*) AS stamped,
        pg_notify('{SENT_CHANNEL}', string_agg(DISTINCT split_part(type, '.', 1), ' '))
    FROM stamped
"""


class Periodic(NamedTuple):
    """Work that the active relay repeats.

    It may be cancelled at any await.
    """

    name: str
    every_seconds: float
    action: Callable[[], Awaitable[object]]


async def run(
    database_url: str,
    bus: Bus,
    periodics: Sequence[Periodic],
    stop: asyncio.Event,
    *,
    services: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Relay until `stop`, through every outage of the database and the bus.

    Declares each service's queue with its patterns first, so that a service that starts later
    receives every event from now on. The URL must lead to PostgreSQL itself: a pooler that shares
    sessions shares their locks.
    """
    backoff = Backoff(*PAUSES_SECONDS)
    while not stop.is_set():
        pulse.beat("relay")
        try:
            async with _connected(database_url) as (connection, lost):
                if await _win(connection, stop, lost):
                    backoff.reset()
                    relay = Relay(connection, lost, bus, stop, services)
                    await _lead(relay, lost, periodics, stop)
        except ERRORS as error:
            pause = backoff.next()
            log.warning("lost the database, connecting again in %.1f s: %r", pause, error)
            await _first(pause, stop)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[tuple[asyncpg.Connection, asyncio.Event]]:
    """Yield a dedicated connection and the event that is set when it is lost."""
    connection = await asyncpg.connect(
        url, timeout=5, command_timeout=STATEMENT_SECONDS, server_settings=SERVER_SETTINGS
    )
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    try:
        yield connection, lost
    finally:
        try:
            await connection.close(timeout=CLOSE_SECONDS)
        except ERRORS:
            connection.terminate()


async def _win(connection: asyncpg.Connection, stop: asyncio.Event, lost: asyncio.Event) -> bool:
    """Wait to become the active relay; False when stopped first."""
    waited = False
    while not await connection.fetchval(_TRY_LOCK, locks.RELAY_ACTIVE):
        if not waited:
            log.info("standing by")
        waited = True
        pulse.beat("relay")
        await _first(STANDBY_SECONDS, stop, lost)
        if stop.is_set():
            return False
    log.info("active")
    await connection.execute(START)
    return True


async def _lead(
    relay: Relay, lost: asyncio.Event, periodics: Sequence[Periodic], stop: asyncio.Event
) -> None:
    """Relay and run the periodics until stopped or until the connection is lost.

    The lock is lost with the connection.
    """
    ACTIVE.set(1)
    relaying = asyncio.create_task(relay.run())
    tasks = [relaying, *(asyncio.create_task(_repeat(periodic)) for periodic in periodics)]
    try:
        await _first(None, stop, lost, relaying)
        if not lost.is_set():
            await asyncio.wait([relaying], timeout=GRACE_SECONDS)
    finally:
        ACTIVE.set(0)
        await end(*tasks)
    if not relaying.cancelled():
        relaying.result()
    elif lost.is_set():
        # A lost connection is not the end: `run` connects again.
        raise ConnectionResetError("the connection was closed")


async def _repeat(periodic: Periodic) -> None:
    while True:
        try:
            await periodic.action()
        except Exception:
            log.exception("%s failed, again in %g s", periodic.name, periodic.every_seconds)
        await asyncio.sleep(periodic.every_seconds)


class Relay:
    """The work of the active relay on its connection."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        lost: asyncio.Event,
        bus: Bus,
        stop: asyncio.Event,
        services: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._connection = connection
        self._lost = lost
        self._bus = bus
        self._stop = stop
        self._woken = asyncio.Event()
        self._position = 0
        self._undeclared = dict(services or {})
        self._confirmed: list[int] = []  # ids that the bus confirmed and that have no position yet

    async def run(self) -> None:
        """Send what is unsent, sleep, repeat."""
        await self._connection.add_listener(WAKE_CHANNEL, lambda *_: self._woken.set())
        backoff = Backoff(*PAUSES_SECONDS)
        self._position = await self._connection.fetchval("SELECT position FROM relay_position")
        rows: list[asyncpg.Record] = []
        while not self._stop.is_set():
            pulse.beat("relay")
            try:
                await self._declare()
                if await self._send_lost():
                    # Confirmed and not stamped yet: skipped when unsent rows are read.
                    rows, self._confirmed = [], []
                rows = await self.send(rows)
                if not rows and not self._confirmed:
                    await self.sleep()
                backoff.reset()
            except _NotSentError as error:
                rows = []  # to be read again: the bus may have taken some
                pause = backoff.next()
                log.warning(
                    "the bus does not take events, again in %.1f s: %r", pause, error.__cause__
                )
                await _first(pause, self._stop, self._lost)
        await self._stamp_confirmed()

    async def _declare(self) -> None:
        """Declare every service's queue once, so that it keeps events until the service starts."""
        while self._undeclared:
            service = next(iter(self._undeclared))
            await self._ask(self._bus.declare(service, self._undeclared[service]))
            # Only now: a declaration that failed is tried again.
            del self._undeclared[service]

    async def send(self, rows: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
        """Publish these events and meanwhile stamp those published before.

        Returns the next events to publish.
        """
        publishing = asyncio.create_task(self._publish_waves(rows))
        try:
            await self._stamp_confirmed()
            following: list[asyncpg.Record] = await self._connection.fetch(
                UNSENT, [row["id"] for row in rows]
            )
        except BaseException:
            # The connection, and with it the lock, may be lost: an event sent from now on could
            # overtake those of the next active relay.
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            raise
        await publishing
        return following

    async def _publish_waves(self, rows: Sequence[asyncpg.Record]) -> None:
        for wave in waves(rows):
            SENT.inc(len(wave))
            await self._publish(wave)
            CONFIRMED.inc(len(wave))
            self._confirmed += [row["id"] for row in wave]

    async def _stamp_confirmed(self) -> None:
        ids, self._confirmed = self._confirmed, []
        if ids:
            await self.stamp(ids)
            self._position += len(ids)
            await self._ask(self._bus.note(self._position))

    async def _send_lost(self) -> bool:
        """Publish again the events that the bus has lost (the last day's when it was wiped).

        Returns whether it had lost any.
        """
        position = await self._ask(self._bus.confirmed(self._position))
        if position >= self._position:
            return False
        if self._position or self._confirmed:
            log.warning(
                "the bus has lost events; sending those after position %d again", max(position, 0)
            )
        while rows := await self._connection.fetch(AGAIN, position):
            for wave in waves(rows):
                await self._publish(wave)
            position = rows[-1]["position"]
        await self._ask(self._bus.note(self._position))
        return True

    async def _publish(self, rows: Sequence[asyncpg.Record]) -> None:
        events = [event_of(row) for row in rows]
        spans = []
        if tracing.on():
            begun = [
                tracing.begin(f"publish {event.type}", "PRODUCER", event.traceparent)
                for event in events
            ]
            spans = [span for span, _ in begun]
            events = [
                msgspec.structs.replace(event, traceparent=parent)
                for event, (_, parent) in zip(events, begun, strict=True)
            ]
        try:
            await self._ask(self._bus.publish(events))
        finally:
            tracing.end(*spans)

    async def _ask(self, question: Awaitable[Answer]) -> Answer:
        try:
            return await question
        except Exception as error:
            raise _NotSentError from error

    async def stamp(self, ids: Sequence[int]) -> None:
        """Set the positions of events, in the order in which they were published."""
        async with self._connection.transaction():
            stamped = await self._connection.fetchval(STAMP, ids)
            if stamped != len(ids):
                raise RuntimeError(
                    f"{len(ids)} events were sent, but {stamped} of them were there to be stamped"
                )

    async def sleep(self) -> None:
        """Wait for a notification.

        Writers hold the lock shared until they commit, and notify when they cannot take it. So the
        relay, once it holds the lock alone, sees the events of every writer that did not notify.
        """
        if not await self._connection.fetchval(_TRY_LOCK, locks.RELAY_ASLEEP):
            await _first(BUSY_SECONDS, self._stop, self._lost)
            return
        # Clear first, then look: a notification that comes after the look ends the wait.
        self._woken.clear()
        # Look under the lock: a writer that committed before we took it has not notified us.
        if not await self._connection.fetchval(_ANY_UNSENT):
            await _first(POLL_SECONDS, self._woken, self._stop, self._lost)
        await self._connection.fetchval(_UNLOCK, locks.RELAY_ASLEEP)


class _NotSentError(Exception):
    """The bus did not confirm an event."""


def waves(rows: Sequence[asyncpg.Record]) -> list[list[asyncpg.Record]]:
    """Split the rows into the fewest lists in which no subject occurs twice.

    With two events of one subject in flight, the bus could refuse the first and take the second.
    """
    found: list[list[asyncpg.Record]] = []
    seen: dict[str, int] = {}
    for row in rows:
        place = seen[row["subject"]] = seen.get(row["subject"], -1) + 1
        if place == len(found):
            found.append([])
        found[place].append(row)
    return found


async def _first(seconds: float | None, *ends: asyncio.Event | asyncio.Task[None]) -> None:
    """Wait until an event is set, a task is done, or the timeout has passed."""
    waits = [asyncio.create_task(end.wait()) for end in ends if isinstance(end, asyncio.Event)]
    others = [end for end in ends if isinstance(end, asyncio.Task)]
    try:
        await asyncio.wait([*waits, *others], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
