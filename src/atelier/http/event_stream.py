"""The log of events as server-sent events: one stream, for as long as its credential is good.

Knows no slice; who may see what is decided in `atelier.events.visible`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from atelier.auth import Principal
from atelier.database import ERRORS
from atelier.errors import Forbidden, OutOfRange, Unauthenticated, Unavailable
from atelier.events.fanout import Reader
from atelier.events.visible import Audience, Entry, Filters
from atelier.http.credentials import authenticate, known
from atelier.http.leaving import until_left
from atelier.http.middleware import END, LASTING
from atelier.http.sendfile import HEAD
from atelier.observe.metrics import EVENT_STREAMS_ENDED

if TYPE_CHECKING:
    from atelier.http.resources import Resources

MEDIA_TYPE = "text/event-stream"
COMMENT_SECONDS = 15.0  # of silence until a comment: proxies close what says nothing
CHECK_SECONDS = 20.0  # between looks whether the credential is still good
TRUST_SECONDS = 45.0  # since the last such look that a stream goes on while none is possible
AGAIN_SECONDS = 1.0  # before another attempt when the database is away
SEND_SECONDS = 30.0  # for a client to take what was sent; then it is left
PIECE_BYTES = 64 * 1024  # sent at a time
# After which a client comes back when the stream ended, in milliseconds: each at another moment
RETRY_MILLISECONDS = 1_000, 3_000
COMMENT = b":\n\n"
LEFT, SLOW, FORBIDDEN, STOPPED, FAILED = "left", "slow", "forbidden", "stopped", "failed"

log = logging.getLogger(__name__)


class EventStream(Response):
    """What a principal may see of the log after a position, until somebody ends it."""

    def __init__(
        self, resources: Resources, principal: Principal, filters: Filters, after: int | None
    ) -> None:
        self.status_code = 200
        self.raw_headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            (b"vary", b"accept"),
        ]
        self.body = b""
        self.background = None
        self.resources, self.principal = resources, principal
        self.filters, self.after = filters, after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events as they come. Raises TooManyRequests and Unavailable before the first."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        if scope.get(HEAD):
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        scope[LASTING] = True
        audience = Audience.of(self.principal, self.filters)
        streams = self.resources.streams
        with streams.place(self.principal.user_id):
            async with streams.fanout.reading(audience, self.after) as reader:
                scope[END] = reader.end
                await send(start)
                reason = await self._run(_Stream(self, reader, scope, send), receive, reader)
        EVENT_STREAMS_ENDED.labels(reason).inc()
        if reason not in (LEFT, SLOW):
            await send({"type": "http.response.body", "body": b""})

    async def _run(self, stream: _Stream, receive: Receive, reader: Reader) -> str:
        leaving = asyncio.create_task(_until_left(receive, reader))
        try:
            reason = await stream.run()
            return LEFT if leaving.done() else reason
        finally:
            leaving.cancel()


async def _until_left(receive: Receive, reader: Reader) -> None:
    await until_left(receive)
    reader.end()


class _Stream:
    """A stream that is open."""

    __slots__ = (
        "_checked", "_due", "_filters", "_judged", "_principal", "_reader", "_resources",
        "_scope", "_send", "_told", "_wrote",
    )  # fmt: skip

    def __init__(self, response: EventStream, reader: Reader, scope: Scope, send: Send) -> None:
        self._resources, self._filters = response.resources, response.filters
        self._principal = response.principal
        self._reader, self._scope, self._send = reader, scope, send
        self._told = reader.position  # the client has all that it may see up to here
        self._judged = reader.position  # what changes its rights has been looked at up to here
        self._checked = self._wrote = time.monotonic()
        self._due = self._checked + CHECK_SECONDS

    async def run(self) -> str:
        """Send until the end; return why it came."""
        try:
            await self._write(b"retry: %d\nid: %d\n\n" % (_retry(), self._told))
            while not self._reader.ended:
                try:
                    await self._go_on()
                except OutOfRange:
                    await self._reset()
                except (Unavailable, *ERRORS):
                    await self._outlive()
        except (Unauthenticated, Forbidden):
            return FORBIDDEN
        except _SlowError:
            return SLOW
        except (Unavailable, *ERRORS) as error:
            log.warning("a stream of events ended: %r", error)
            return FAILED
        return STOPPED

    async def _go_on(self) -> None:
        now = time.monotonic()
        if now >= self._wrote + COMMENT_SECONDS:
            await self._write(self._mark())
        if now >= self._due:
            await self._check()
        silence = min(self._wrote + COMMENT_SECONDS, self._due) - now
        entries = await self._reader.take(max(silence, 0.0))
        if not self._reader.ended:
            await self._show(entries)

    async def _show(self, entries: Sequence[Entry]) -> None:
        """Send events, up to one from which on the client may see more than before."""
        reader = self._reader
        if entries:
            await self._heed_sign_outs()
        shown: list[Entry] = []
        for entry in entries:
            if entry.position > self._judged and reader.audience.is_changed_by(entry):
                await self._write_all(shown)
                shown, before = [], reader.audience
                self._judged = entry.position
                await self._check()
                if reader.audience != before:
                    reader.become(reader.audience, entry.position - 1)
                    return
            shown.append(entry)
        await self._write_all(shown)

    async def _heed_sign_outs(self) -> None:
        """Look at the rights again if they were revoked since; costs no await otherwise."""
        principal = known(self._scope, self._resources.authenticator)
        if principal is None:
            await self._check()
        elif principal is not self._principal:
            self._judge(principal)

    async def _check(self) -> None:
        """Ask the database for the rights. Raises Unauthenticated and Forbidden."""
        authenticator = self._resources.authenticator
        self._judge(await authenticate(self._scope, authenticator, fresh=True))
        self._checked = time.monotonic()
        self._due = self._checked + CHECK_SECONDS

    def _judge(self, principal: Principal) -> None:
        audience, reader = Audience.of(principal, self._filters), self._reader
        if not audience.covers(reader.audience):
            raise Forbidden("Something that this stream showed is not to be seen any more.")
        self._principal = principal
        if audience != reader.audience:
            reader.become(audience, reader.position)

    async def _outlive(self) -> None:
        """Wait for the database to come back, as long as the rights were good lately."""
        if time.monotonic() >= self._checked + TRUST_SECONDS:
            raise Unavailable("The rights of the reader cannot be looked up.")
        self._reader.become(self._reader.audience, self._told)
        if time.monotonic() >= self._wrote + COMMENT_SECONDS:
            await self._write(COMMENT)
        await asyncio.sleep(AGAIN_SECONDS)

    async def _reset(self) -> None:
        """Tell the client that events are lost for it, and go on from the end of the log."""
        await self._reader.skip()
        self._due = 0.0  # what was lost may have changed its rights
        self._told = self._judged = self._reader.position
        await self._write(
            b'event: reset\nid: %d\ndata: {"position":%d}\n\n' % (self._told, self._told)
        )

    def _mark(self) -> bytes:
        """A comment, with the position if nothing that the client sees has brought it there.

        A browser keeps it: after a quiet day it resumes within what the log still holds.
        """
        if self._reader.position <= self._told:
            return COMMENT
        self._told = self._reader.position
        return b":\nid: %d\n\n" % self._told

    async def _write_all(self, entries: Sequence[Entry]) -> None:
        sees = self._reader.audience.sees
        for piece, position in _pieces([entry for entry in entries if sees(entry)]):
            await self._write(piece)
            self._told = position

    async def _write(self, piece: bytes) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            raise _SlowError from None
        self._wrote = time.monotonic()


class _SlowError(Exception):
    """The client does not take what is sent."""


def _pieces(entries: Sequence[Entry]) -> Iterator[tuple[bytes, int]]:
    """Join frames to pieces of some size, each with the position that it reaches."""
    frames: list[bytes] = []
    size = 0
    for entry in entries:
        frames.append(entry.frame)
        size += len(entry.frame)
        if size >= PIECE_BYTES:
            yield b"".join(frames), entry.position
            frames, size = [], 0
    if frames:
        yield b"".join(frames), entries[-1].position


def _retry() -> int:
    least, most = RETRY_MILLISECONDS
    return least + secrets.randbelow(most - least)
