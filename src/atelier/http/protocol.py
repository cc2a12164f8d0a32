"""uvicorn's HTTP/1.1 protocol with limits on the head of a request and on silent clients.

What cannot be read as HTTP is answered with a problem, too. Knows no application.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atelier.http.problems import from_status

HEAD_BYTES = (
    64 * 1024
)  # of request line and headers, counted from the second read on: one brings at most 256 KiB
UNENCODED = "Letters outside ASCII in an address are percent-encoded: %C3%A9 for é."
_UNENCODED_LINE = re.compile(rb"[A-Z]+ [\x21-\x7e]*[\x80-\xff]")
WAIT_SECONDS = 60.0  # for a whole head, and for the next bytes of a body; what nginx grants


class Protocol(HttpToolsProtocol):
    """One connection.

    A request that has begun must go on; one that waits for us has all the time it needs.
    """

    head_bytes = HEAD_BYTES
    wait_seconds = WAIT_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = 0  # bytes of a head that is not complete
        self._in_head = self._in_body = False
        self._reading = b""  # what is being parsed
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(  # type: ignore[override] # as uvicorn does
        self, transport: asyncio.Transport
    ) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; the clock of a head is not set back by more of it."""
        began_in_head = self._in_head
        if not began_in_head:
            self._rest()
        self._reading = data
        super().data_received(data)
        self._reading = b""
        if self.transport.is_closing():
            return
        if not (self._in_head or self._in_body):
            self._rest()
        elif self._in_head and began_in_head:
            self._head += len(data)
            if self._head > self.head_bytes:
                self._refuse(431)
        elif self._patience is None:
            self._wait()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head = True, 0

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._in_head, self._in_body = False, True
        self._rest()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It is complete."""
        self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._rest()
        unencoded = not self._in_body and _UNENCODED_LINE.match(self._reading)
        self._refuse(400, UNENCODED if unencoded else msg)

    def _refuse(self, status: int, detail: str = "") -> None:
        answer = from_status(status, detail, {"Connection": "close"})
        lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
        lines += [b"%b: %b" % header for header in answer.raw_headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.close()

    def _wait(self) -> None:
        self._patience = self.loop.call_later(self.wait_seconds, self._give_up)

    def _rest(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if self.flow.read_paused:  # it is we who do not read
            self._wait()
        else:
            self.transport.close()
