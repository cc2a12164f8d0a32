"""The outermost layer of the API in plain ASGI: request ids, limits, headers, access log.

It sees every request once and every answer once; nothing that fails inside leaves without being a
problem. Knows no route and no slice; what lies under the prefixes of another application goes
there as it came.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atelier.http.problems import from_exception, from_status
from atelier.http.sendfile import HEAD
from atelier.observe import requester, tracing
from atelier.observe.logs import RequestIds, request_id
from atelier.wire.networks import plain_address

if TYPE_CHECKING:
    from atelier.http.crowd import Refusals
    from atelier.http.metrics import Metrics
    from atelier.http.shortcuts import Shortcuts
    from atelier.wire.hosts import Hosts

# A body over the limit is read and thrown away for so long: closing at once loses the answer
LINGER_SECONDS = 30.0
LINGER_IDLE_SECONDS = 5.0  # when nothing more comes
REFUSED = "atelier.refused"  # in the scope: the status by which the server itself has answered
LASTING = "atelier.lasting"  # in the scope: the answer ends when somebody wants it to
END = "atelier.end"  # in the scope: what ends a lasting answer
CLOSED_BY_CLIENT = 499  # nginx's word in logs and metrics for a client that went away
UNMATCHED = "(unmatched)"  # the route of unknown paths: paths that clients make up are no labels
SECRETS_UNDER = "/api/auth/"  # no cache keeps answers from here
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds; logged at DEBUG
NOT_HERE = "The header Host is not among the names of this service."
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_CLOSE = (b"connection", b"close")

access = logging.getLogger("atelier.access")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another ASGI application on the same port, and the path prefixes that are its own."""

    app: ASGIApp
    prefixes: tuple[str, ...]

    def prefix(self, path: str) -> str:
        """The prefix that a path is or lies below; none: empty."""
        if not path.startswith(self.prefixes):
            return ""
        below = f"{path}/"
        return next((prefix for prefix in self.prefixes if below.startswith(f"{prefix}/")), "")


class BodyTooLarge(HTTPException):
    """Raised by `receive` once a body is over the limit.

    An HTTPException, because FastAPI turns others into 400.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The limit is {limit} bytes.")


class Edge:
    """The application as the server sees it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_limit: int,
        metrics: Metrics,
        hosts: Hosts,
        elsewhere: Elsewhere | None = None,
        shortcuts: Shortcuts | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self.app = app
        self.limit = body_limit
        self.metrics = metrics
        self.hosts = hosts
        self.elsewhere = elsewhere
        self.shortcuts = shortcuts
        self.refusals = refusals
        self.ids = RequestIds()
        self._now, self._date = 0, b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; anything that is not HTTP passes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(self, scope, receive, send)
        token = request_id.set(exchange.id.decode())
        client = scope.get("client")
        sender = requester.begin(plain_address(client[0]) if client else requester.NOBODY)
        try:
            if tracing.on():
                await exchange.run_traced()
            else:
                await exchange.run()
        finally:
            requester.end(sender)
            request_id.reset(token)

    def date(self) -> bytes:
        """Now, as `Date` has it.

        The server's own may be a second old, and older than a `Last-Modified` beside it.
        """
        now = int(time.time())
        if now != self._now:
            self._now, self._date = now, formatdate(now, usegmt=True).encode()
        return self._date


class _Exchange:
    """One request and its answer."""

    __slots__ = (
        "_edge", "_foreign", "_misdirected", "_opened", "_over", "_read", "_receive", "_received",
        "_send", "_since", "id", "scope", "status",
    )  # fmt: skip

    def __init__(self, edge: Edge, scope: Scope, receive: Receive, send: Send) -> None:
        self._since = time.perf_counter()
        self._opened: float | None = None
        self._edge = edge
        self._receive, self._send = receive, send
        self._received = 0
        self._read = self._over = self._foreign = self._misdirected = False
        self.status = 0
        self.scope = scope
        given = length = b""
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = value
            elif name == b"x-request-id":
                given = value
            elif name == b"host" and not edge.hosts.accepts(value):
                quiet = scope["path"].rstrip("/") in QUIET
                self._misdirected = not (quiet and edge.hosts.accepts_probe(value))
        self.id = edge.ids.pick(given)
        if length and int(length) > edge.limit:
            self._over = True

    async def run_traced(self) -> None:
        """The same within a span, below the client's if it sent one."""
        scope = self.scope
        given = next(
            (
                value.decode("latin-1")
                for name, value in scope["headers"]
                if name == b"traceparent"
            ),
            None,
        )
        with tracing.span(scope["method"], "SERVER", parent=given) as span:
            await self.run()
            span.update_name(f"{scope['method']} {self._route()}")
            span.set_attribute("http.request.method", scope["method"])
            span.set_attribute("http.route", self._route())
            span.set_attribute("http.response.status_code", self.status)

    async def run(self) -> None:
        """Have it answered, whatever happens, and record it."""
        try:
            await self._answer()
        except ClientDisconnect:
            pass
        except Exception as error:
            await self._fail(error)
        finally:
            self._record()

    async def _answer(self) -> None:
        edge, scope = self._edge, self.scope
        if self._misdirected:
            await from_status(421, NOT_HERE)(scope, self.receive, self.send)
            return
        if self._over:
            raise BodyTooLarge(edge.limit)
        if unreadable(scope):
            await from_status(400, "The address is not valid UTF-8, or holds a NUL.")(
                scope, self.receive, self.send
            )
            return
        if edge.refusals and (refusal := edge.refusals.find(scope)):
            await refusal(scope, self.receive, self.send)
            return
        elsewhere = edge.elsewhere
        path = scope["path"]
        if elsewhere and elsewhere.prefix(path):
            self._foreign = True
            await elsewhere.app(scope, self.receive, self.send)
            return
        if path[-1:] == "/" and len(path) > 1:
            scope["path"] = path[:-1]
        if scope["method"] == "HEAD":
            self.scope = scope = {
                **scope,
                "method": "GET",
                HEAD: True,
            }  # the server goes by its own copy
        if edge.shortcuts and (answer := edge.shortcuts.find(scope, self.receive)):
            await (await answer)(scope, self.receive, self.send)
            return
        await edge.app(scope, self.receive, self.send)

    async def receive(self) -> Message:
        """The server's next message. Raises BodyTooLarge as soon as the body is."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._read = not message.get("more_body", False)
            if self._received > self._edge.limit:
                self._over = True
                raise BodyTooLarge(self._edge.limit)
        return message

    async def send(self, message: Message) -> None:
        """Pass an answer on, with our headers; nothing of a body to HEAD."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if LASTING in self.scope:
                self._opened = time.perf_counter()
            message = {**message, "headers": self._headers(message.get("headers", ()))}
        elif HEAD in self.scope:
            if message.get("more_body", False):
                return
            message = {"type": "http.response.body", "body": b""}
        if (
            self._over
            and not self._read
            and message["type"] == "http.response.body"
            and not message.get("more_body")
        ):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def _headers(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        ours = [(b"x-request-id", self.id), _NOSNIFF]
        if self._over:
            ours.append(_CLOSE)
        if self.scope["path"].startswith(SECRETS_UNDER):
            ours.append(_NO_STORE)
        if self._foreign or len(ours) > 2:
            names = {name for name, _ in ours}
            headers = [header for header in headers if header[0].lower() not in names]
        return [*headers, *ours, (b"date", self._edge.date())]

    async def _linger(self) -> None:
        """Read on until the client has seen the answer and stops, or long enough."""
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                more = True
                while more:
                    async with asyncio.timeout(LINGER_IDLE_SECONDS):
                        more = (await self._receive()).get("more_body", False)
        except TimeoutError:
            pass

    async def _fail(self, error: Exception) -> None:
        response = from_exception(error)
        if (
            not self.status
        ):  # else the server cuts the connection: half an answer must not look whole
            await response(self.scope, self.receive, self.send)

    def _record(self) -> None:
        seconds = time.perf_counter() - self._since
        scope = self.scope
        status = self.status or scope.get(REFUSED, CLOSED_BY_CLIENT)
        method = "HEAD" if HEAD in scope else scope["method"]
        # An hour of a stream says nothing of how fast we answer; its beginning does.
        answered = seconds if self._opened is None else self._opened - self._since
        self._edge.metrics.observe(method, self._route(), status, answered)
        level = logging.DEBUG if scope["path"] in QUIET else logging.INFO
        if access.isEnabledFor(level):
            client, user = requester.current().client, requester.user_of_line()
            path = (scope.get("raw_path") or b"-").decode("latin-1")
            took = seconds * 1000
            access.log(level, "%s %s %s %s %d %.1f ms", client, user, method, path, status, took)

    def _route(self) -> str:
        if self._foreign and self._edge.elsewhere:
            return self._edge.elsewhere.prefix(self.scope["path"])
        return getattr(self.scope.get("route"), "path", UNMATCHED)


def unreadable(scope: Scope) -> bool:
    """Whether path or query, percent-decoded, are not UTF-8 or hold a NUL, which no column can."""
    query, path = scope["query_string"], scope.get("raw_path") or b""
    if b"%" not in query and b"%" not in path:
        return False
    decoded = unquote_to_bytes(path + b"?" + query)
    try:
        return "\0" in decoded.decode()
    except UnicodeDecodeError:
        return True
