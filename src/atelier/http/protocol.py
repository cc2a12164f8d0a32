"""uvicorn's HTTP/1.1 protocol with limits on what a client may hold open, and for how long.

What cannot be read as HTTP is answered with a problem, too. Knows no application.
"""

from __future__ import annotations

import asyncio
import re
import sys
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atelier.http.middleware import END, REFUSED
from atelier.http.pace import Pace, bytes_taken
from atelier.http.problems import from_status
from atelier.wire.networks import plain_address
from atelier.wire.quota import RETRY_SECONDS, Quota
from atelier.wire.sockets import reset

# Of request line and headers, counted from the second read on: one brings at most 256 KiB.
HEAD_BYTES = 64 * 1024
UNENCODED = "Letters outside ASCII in an address are percent-encoded: %C3%A9 for é."
_UNENCODED_LINE = re.compile(rb"[A-Z]+ [\x21-\x7e]*[\x80-\xff]")
PATIENCE_SECONDS = 20.0  # for a whole head from its first byte, or from the connection; see `rate`
RATE_BYTES = 1_000  # a second that a client gives of a body, or takes of an answer, at least
# A client that was refused is read on, so that it sees the answer: closing with bytes unread would
# reset the connection.
LINGER_SECONDS = 5.0
LINGER_BYTES = 4 * 1024 * 1024


class Protocol(HttpToolsProtocol):
    """One connection.

    The client is looked at a few times while it may be silent, not at each request: a request
    costs no timer. One that waits for us has all the time it needs.
    """

    head_bytes = HEAD_BYTES
    patience_seconds = PATIENCE_SECONDS
    rate_bytes = RATE_BYTES
    linger_seconds = LINGER_SECONDS

    def __init__(self, *args: Any, quota: Quota | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._quota = quota
        self._counted = False
        self._head = 0  # bytes of a head that is not complete
        self._in_head = self._in_body = self._refused = False
        self._head_since: float | None = None  # when we began to wait for a head
        self._received = 0  # bytes, ever
        self._discarded = 0  # after a refusal
        self._giving: Pace | None = None
        self._taking: Pace | None = None
        self._reading = b""  # what is being parsed
        self._next: asyncio.TimerHandle | None = None

    @property
    def look_seconds(self) -> float:
        """The time from one look to the next."""
        return self.patience_seconds / 4

    def connection_made(  # type: ignore[override] # as uvicorn does
        self, transport: asyncio.Transport
    ) -> None:
        """Begin to wait for the first request; refuse a connection above the quota unread."""
        super().connection_made(transport)
        if self.client is not None:
            # On `::` the kernel writes IPv4 clients as IPv6; by their own addresses proxies are
            # recognised, limits counted and lines logged.
            self.client = (plain_address(self.client[0]), self.client[1])
        if self._quota is not None and self.client is not None:
            why = self._quota.take(self.client[0])
            if why is not None:
                self._write_refusal(why, headers={"Retry-After": str(RETRY_SECONDS)})
                transport.close()
                return
            self._counted = True
        self._head_since = self.loop.time()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()
        if self._counted and self._quota is not None and self.client is not None:
            self._quota.give_back(self.client[0])
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Let the request in hand end; an answer that lasts ends now."""
        super().shutdown()
        end: Any = self.cycle.scope.get(END) if self.cycle is not None else None
        if end is not None:
            end()

    def data_received(self, data: bytes) -> None:
        """Read on; the clock of a head is not set back by more of it."""
        if self._refused:
            self._discard(len(data))
            return
        began_in_head = self._in_head
        self._received += len(data)
        self._reading = data
        super().data_received(data)
        self._reading = b""
        if self._in_head:
            if began_in_head:
                self._head += len(data)
                if self._head > self.head_bytes:
                    self._refuse(431)
            self._await_head()
        elif self.cycle is None or self.cycle.response_complete:
            self._await_head()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head = True, 0

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._in_head, self._in_body = False, True
        self._head_since = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It is complete."""
        self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        unencoded = not self._in_body and _UNENCODED_LINE.match(self._reading)
        self._refuse(400, UNENCODED if unencoded else msg)

    def _await_head(self) -> None:
        """Start the clock of a head; so does a stray line end, which stops uvicorn's own."""
        waits = self._in_head or (self.timeout_keep_alive_task is None and not self._in_body)
        if waits and not self._refused and self._head_since is None:
            self._head_since = self.loop.time()

    def _look_later(self) -> None:
        self._next = self.loop.call_later(self.look_seconds, self._look)

    def _look(self) -> None:
        """Leave a client that is too slow."""
        self._look_later()
        if not self._takes():
            reset(self.transport)
        elif self._head_is_late():
            self.transport.close()
        elif not self._gives():
            self._refuse(408)

    def _head_is_late(self) -> bool:
        if self._head_since is None:
            return False
        if self.flow.read_paused:  # it is we who do not read
            self._head_since = self.loop.time()
        return self.loop.time() - self._head_since >= self.patience_seconds

    def _gives(self) -> bool:
        """Whether a body comes fast enough; in time we do not read, it is not expected to."""
        waits = self._in_body and not (
            self.flow.read_paused or self.cycle.waiting_for_100_continue
        )
        if not waits or self.transport.is_closing():
            self._giving = None
            return True
        if self._giving is None:
            self._giving = Pace(self._grace, self._received)
            return True
        return self._giving.keeps_up(self._received, self._due)

    def _takes(self) -> bool:
        """Whether answers are taken fast enough, once more is there than the kernel buffers.

        Also after the connection was closed, for that waits until all is sent.
        """
        if sys.platform != "linux" or not self.transport.get_write_buffer_size():
            self._taking = None
            return True
        taken, step = bytes_taken(self.transport.get_extra_info("socket"))
        if self._taking is None:
            self._taking = Pace(self._grace + step, taken)
            return True
        return self._taking.keeps_up(taken, self._due)

    @property
    def _grace(self) -> float:
        return self.rate_bytes * self.patience_seconds

    @property
    def _due(self) -> float:
        # By the clock a busy machine's delays would be at the client's cost.
        return self.rate_bytes * self.look_seconds

    def _refuse(self, status: int, detail: str = "") -> None:
        """Answer with a problem, where an answer can still be sent; read no further request."""
        cycle = self.cycle
        self._refused = True
        self._head_since = None
        if cycle is None or cycle.response_complete:
            self._answer_and_linger(status, detail)
        elif not self._in_body:  # the requests before this one are answered first
            cycle.keep_alive = False
        elif cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            cycle.scope[REFUSED] = status  # type: ignore[literal-required]
            cycle.disconnected = True
            cycle.message_event.set()
            self._answer_and_linger(status, detail)

    def _answer_and_linger(self, status: int, detail: str) -> None:
        self._in_head = self._in_body = False
        self._write_refusal(status, detail)
        self.transport.write_eof()
        self.flow.resume_reading()
        if self._next is not None:
            self._next.cancel()
        self._next = self.loop.call_later(self.linger_seconds, self.transport.abort)

    def _write_refusal(
        self, status: int, detail: str = "", headers: dict[str, str] | None = None
    ) -> None:
        answer = from_status(status, detail, {"Connection": "close"} | (headers or {}))
        lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
        lines += [b"%b: %b" % header for header in answer.raw_headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))

    def _discard(self, count: int) -> None:
        self._discarded += count
        if self._discarded > LINGER_BYTES:
            self.transport.abort()
