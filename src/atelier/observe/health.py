"""`/metrics`, `/healthz` and `/readyz` of a role that is no web server, on its own port.

Alive means that the role's loops came round lately, ready that its dependencies answer. Knows no
role and no dependency.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import orjson
from prometheus_client import CollectorRegistry

from atelier.errors import AtelierError
from atelier.observe.exposition import MEDIA_TYPE, REGISTRY, Exposition
from atelier.observe.metrics import DEPENDENCY
from atelier.settings import Settings
from atelier.wire.quota import Quota
from atelier.wire.sockets import reset

Check = Callable[[], Awaitable[object]]

CHECK_SECONDS = 2.0  # a dependency that takes longer to answer is not ready
ASK_SECONDS = 1.0  # between two looks at dependencies for clients' sake
MEASURE_SECONDS = 1.0  # between two measurements of one process
# Between checks of dependencies without a request; about as often as Prometheus scrapes.
LOOK_SECONDS = 15.0
# Beyond one decode: no wait of a loop, outages included, takes this long.
STUCK_SECONDS = 120.0
HEAD_BYTES = 8 * 1024  # of a request; there is no body to read
CLIENT_SECONDS = 5.0  # to send a request, and to take its answer
CONNECTIONS = 128  # at once; one more is answered 503 and closed
CLIENT_CONNECTIONS = 16  # of one address or IPv6 network at once; one more is answered 429
DISCARDED_BYTES = 2 * 1024 * 1024  # that come after the head, or of one that is too large
JSON, PROBLEM = b"application/json", b"application/problem+json"
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
    503: "Service Unavailable",
}

log = logging.getLogger(__name__)


class Pulse:
    """The time at which each loop of this process last came round."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def beat(self, loop: str) -> None:
        """Record that the loop has come round."""
        self._last[loop] = time.monotonic()

    def stuck(self, seconds: float) -> list[str]:
        """Return the loops that have not come round for that long."""
        before = time.monotonic() - seconds
        return [loop for loop, last in self._last.items() if last < before]


pulse = Pulse()


class Answer(NamedTuple):
    """A response."""

    status: int
    media_type: bytes
    body: bytes
    headers: bytes = b""


class HealthServer:
    """Serves the health endpoints of one role."""

    def __init__(
        self,
        exposition: Exposition,
        checks: Mapping[str, Check],
        stuck_seconds: float,
        beats: Pulse = pulse,
        before: Check | None = None,
    ) -> None:
        self._exposition = exposition
        self._readiness = Readiness(checks)
        self._stuck_seconds = stuck_seconds
        self._beats = beats
        self._before = before
        self._measured = -MEASURE_SECONDS
        self._quota = Quota(CLIENT_CONNECTIONS, CONNECTIONS)

    async def answer(self, method: str, path: str) -> Answer:
        """Return the response to one request."""
        if path not in {"/metrics", "/healthz", "/readyz"}:
            return _problem(404, "There are /metrics, /healthz and /readyz.")
        if method not in {"GET", "HEAD"}:
            return _problem(405, "GET and HEAD are.")
        if path == "/metrics":
            await self._measure()
            return Answer(200, MEDIA_TYPE, await asyncio.to_thread(self._exposition.text))
        return self._alive() if path == "/healthz" else await self._ready()

    async def _measure(self) -> None:
        """Run the measurement, at most once a second however often metrics are asked for.

        Without it the other metrics are still shown.
        """
        now = time.monotonic()
        if now - self._measured < MEASURE_SECONDS:
            return
        self._measured = now
        await self._readiness.ask()
        if self._before is not None:
            await _check("what metrics are measured of", self._before)

    def _alive(self) -> Answer:
        stuck = self._beats.stuck(self._stuck_seconds)
        if stuck:
            return _problem(
                503, f"Not come round for {self._stuck_seconds:g} s: {', '.join(stuck)}."
            )
        return Answer(200, JSON, b'{"status":"ok"}')

    async def _ready(self) -> Answer:
        checks = await self._readiness.ask()
        missing = ", ".join(name for name, said in checks.items() if said != "ok")
        if missing:
            return _problem(503, f"Not ready: {missing}.", checks=checks)
        return Answer(200, JSON, orjson.dumps({"status": "ready", "checks": checks}))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the one request of a connection."""
        peer = writer.get_extra_info("peername")
        if not peer:  # gone already
            writer.close()
            return
        if why := self._quota.take(peer[0]):
            answer = _problem(why, "Too many connections are open.")
            writer.write(_wire(answer._replace(headers=_RETRY), with_body=True))
            writer.close()
            return
        try:
            await self._serve(reader, writer)
            writer.close()
        except TimeoutError:
            if not writer.is_closing():
                reset(writer.transport)
        except (OSError, EOFError):  # the client has gone
            writer.close()
        finally:
            self._quota.give_back(peer[0])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CLIENT_SECONDS):
            head = await _head(reader)
        method, _, rest = head.partition(" ")
        answer = (
            await self.answer(method, rest.partition(" ")[0].partition("?")[0]) if head else _BAD
        )
        async with asyncio.timeout(CLIENT_SECONDS):
            writer.write(_wire(answer, with_body=method != "HEAD"))
            writer.write_eof()
            await writer.drain()
            # Closed with bytes unread the connection would be reset, and the answer lost.
            left = DISCARDED_BYTES
            while left > 0 and (data := await reader.read(HEAD_BYTES)):
                left -= len(data)


async def _head(reader: asyncio.StreamReader) -> str:
    """Read the head of a request and return its request line.

    Empty for one that is too large or not HTTP.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return ""
    line = head.partition(b"\r\n")[0].decode("latin-1")
    return line if line.endswith(("HTTP/1.1", "HTTP/1.0")) else ""


def _wire(answer: Answer, *, with_body: bool) -> bytes:
    status = b"HTTP/1.1 %d %b\r\n" % (answer.status, REASONS[answer.status].encode())
    form = b"content-type: %b\r\ncontent-length: %d\r\n" % (answer.media_type, len(answer.body))
    return (
        status
        + form
        + answer.headers
        + b"cache-control: no-store\r\nconnection: close\r\n\r\n"
        + answer.body * with_body
    )


def _problem(status: int, detail: str, **more: object) -> Answer:
    body = {
        "type": "about:blank",
        "title": REASONS[status],
        "status": status,
        "detail": detail,
    } | more
    return Answer(status, PROBLEM, orjson.dumps(body))


_RETRY = b"retry-after: %d\r\n" % CLIENT_SECONDS
_BAD = _problem(400, f"An HTTP/1.1 request of {HEAD_BYTES} bytes at most is expected.")


class PortTaken(AtelierError):
    """Another program listens on this port."""

    slug = "port-taken"


def taken(host: str, port: int, setting: str) -> PortTaken:
    """The message for a port that is in use or forbidden."""
    return PortTaken(
        f"Port {port} of {host} is taken by another program: choose another {setting}."
    )


def bind(
    host: str, port: int, *, share: bool = False, setting: str = "ATELIER_METRICS_PORT"
) -> socket.socket:
    """Return a socket bound to an address, for several processes if they `share` it.

    Raises PortTaken and AtelierError.
    """
    listener = socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM
    )
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if share:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise taken(host, port, setting) from error
        raise AtelierError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


@asynccontextmanager
async def listening(
    settings: Settings,
    checks: Mapping[str, Check],
    *,
    processes: int = 1,
    listener: socket.socket | None = None,
    registries: Sequence[CollectorRegistry] = (),
    before: Check | None = None,
) -> AsyncIterator[None]:
    """Serve on `metrics_port`, if there is one, while inside.

    With `processes` above 1 the processes of the role share the port and each shows all.
    `listener` is a socket that is bound to the port already, `registries` are metrics beyond those
    of every role, and `before` is awaited before metrics are shown.
    """
    if settings.metrics_port is None:
        yield
        return
    listener = listener or bind(settings.host, settings.metrics_port, share=processes > 1)
    folder = settings.data / "metrics" / str(settings.metrics_port) if processes > 1 else None
    exposition = Exposition(REGISTRY, *registries, folder=folder)
    health = HealthServer(
        exposition, checks, STUCK_SECONDS + settings.decode_seconds, before=before
    )
    server = await asyncio.start_server(health.serve, sock=listener, limit=HEAD_BYTES)
    log.info("metrics and health on %s port %d", settings.host, listener.getsockname()[1])
    try:
        async with exposition.shared(), watched(checks if processes > 1 else {}):
            yield
    finally:
        server.close()


@asynccontextmanager
async def watched(checks: Mapping[str, Check]) -> AsyncIterator[None]:
    """Run the checks every few seconds while inside.

    A process that shares its port may never be asked, and shows the last result.
    """
    if not checks:
        yield
        return
    looking = asyncio.create_task(_look(checks))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait([looking])


async def _look(checks: Mapping[str, Check]) -> None:
    while True:
        await run_checks(checks)
        await asyncio.sleep(LOOK_SECONDS)


class Readiness:
    """What each dependency answers, asked once a second at most however many clients ask.

    Those who come while it is being asked get the same answer.
    """

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self.checks = checks
        self._asked = -ASK_SECONDS
        self._asking: asyncio.Future[dict[str, str]] | None = None

    async def ask(self) -> dict[str, str]:
        """For each dependency `ok`, `slow` or `unreachable`, at most a second old."""
        asking, now = self._asking, time.monotonic()
        if asking is None or (asking.done() and now - self._asked >= ASK_SECONDS):
            self._asked = now
            self._asking = asking = asyncio.ensure_future(run_checks(self.checks))
        # Shielded: a client that goes away must not take the answer from the others.
        return await asyncio.shield(asking)


async def run_checks(checks: Mapping[str, Check]) -> dict[str, str]:
    """Run all checks at once; return for each `ok`, `slow` or `unreachable`.

    The reason goes to the log only.
    """
    said = await asyncio.gather(*(_check(name, check) for name, check in checks.items()))
    for name, word in zip(checks, said, strict=True):
        DEPENDENCY.labels(name).set(word == "ok")
    return dict(zip(checks, said, strict=True))


async def _check(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        log.warning("%s did not answer within %s s", name, CHECK_SECONDS)
        return "slow"
    except Exception as error:
        log.warning("%s is not ready: %s: %s", name, type(error).__name__, error)
        return "unreachable"
    return "ok"
