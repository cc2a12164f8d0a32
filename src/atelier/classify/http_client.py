"""A minimal HTTP/1.1 client, for sending a picture and reading a bounded response (25 us each).

A connection serves one request at a time and is kept alive. There are no redirects, cookies or
proxies.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import httptools

from atelier.errors import AtelierError
from atelier.observe.logs import Redactor

ANSWER_MOST = 1 << 20
"""Bytes of an answer's body, and of all that is none; a service that sends more has gone mad."""

_redact = Redactor()
CONNECT_SECONDS = 10.0


class BadURL(AtelierError):
    """The URL cannot be used."""

    slug = "bad-url"


class BadAnswer(Exception):
    """The server does not speak HTTP."""


class Stale(ConnectionError):
    """A kept-alive connection was closed before it answered: the request may be sent again."""


@dataclass(slots=True)
class Response:
    """A response: status, headers, body."""

    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Endpoint:
    """A URL taken apart: the address to connect to, and the head of its requests."""

    def __init__(self, url: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise BadURL(f"{_redact(url)!r}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadURL(f"{_redact(url)!r} is not an http:// or https:// URL")
        self.host = parts.hostname
        self.port = port or (443 if parts.scheme == "https" else 80)
        self.ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self.path = parts.path.rstrip("/")
        self.query = parts.query
        name = f"[{self.host}]" if ":" in self.host else self.host.encode("idna").decode()
        given = [
            ("Host", name if port is None else f"{name}:{port}"),
            ("User-Agent", "atelier"),
            *headers,
        ]
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            given.append(("Authorization", "Basic " + base64.b64encode(user.encode()).decode()))
        for header, value in given:
            if not header.isascii() or any(char in header + value for char in "\r\n\0"):
                raise BadURL(f"{header!r} cannot be sent as a header")
        self.headers = "".join(f"{header}: {value}\r\n" for header, value in given).encode(
            "latin-1", "replace"
        )

    def request(self, method: str, target: str, media_type: str = "", body: bytes = b"") -> bytes:
        """A complete request; without a media type it has no body."""
        content = (
            f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n" if media_type else ""
        )
        return b"".join(
            (f"{method} {target} HTTP/1.1\r\n{content}".encode(), self.headers, b"\r\n", body)
        )


class Connection(asyncio.Protocol):
    """One connection; `request` sends bytes and waits for one response."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._used = False
        self.alive = True
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    async def request(self, data: bytes) -> Response:
        """Send a request; raises ConnectionError, Stale or BadAnswer when there is no response.

        Cancelling it closes the connection.
        """
        if self._transport is None or not self.alive:
            raise Stale
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        try:
            return await self._answer
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection at once."""
        self.alive = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport  # type: ignore[assignment] # always a Transport for TCP

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        self._around += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(BadAnswer(f"not HTTP: {error}"))
        if self._around > ANSWER_MOST:
            self._fail(BadAnswer(f"headers of more than {ANSWER_MOST} bytes"))

    def connection_lost(self, error: Exception | None) -> None:
        """End the answer that was being waited for."""
        if (
            error is None
            and self._headed
            and self._response.headers.keys().isdisjoint(("content-length", "transfer-encoding"))
        ):
            self._deliver()  # a response without a length ends with its connection
        # Closed between two responses: the server gave the idle connection up and has not
        # read this request.
        stale = self._used and not self._started
        self._fail(
            Stale()
            if stale
            else error
            if isinstance(error, OSError)
            else ConnectionResetError("closed before it answered")
        )

    def on_status(self, _reason: bytes) -> None:
        """Note that an answer has begun."""
        self._started = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header from the parser."""
        self._response.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note that the head of the answer has ended."""
        self._headed = True

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, within bounds."""
        self._size += len(body)
        self._around -= len(body)
        if self._size > ANSWER_MOST:
            self._fail(BadAnswer(f"an answer of more than {ANSWER_MOST} bytes"))
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by httptools."""
        # An interim response (1xx): the real one follows.
        if self._parser.get_status_code() < 200:
            self._reset()
            return
        if not self._parser.should_keep_alive():
            self.close()
        self._deliver()

    def _deliver(self) -> None:
        response, answer = self._response, self._answer
        response.status, response.body = self._parser.get_status_code(), b"".join(self._body)
        self._used, self._answer = True, None
        self._reset()
        if answer is None:
            self.close()  # an unrequested response: nothing after it can be trusted
        elif not answer.done():
            answer.set_result(response)

    def _reset(self) -> None:
        self._response = Response()
        self._body: list[bytes] = []
        self._size = self._around = 0  # bytes of the body, and of all around it
        self._started = self._headed = False

    def _fail(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        self.close()
        if answer is not None and not answer.done():
            answer.set_exception(error)


class Client:
    """A pool of connections to one endpoint, kept alive, the most recently used first."""

    def __init__(self, endpoint: Endpoint, seconds: float) -> None:
        self.endpoint = endpoint
        self._seconds = seconds
        self._idle: list[Connection] = []

    async def post(self, target: str, media_type: str, body: bytes) -> Response:
        """Send a POST request.

        Raises OSError (TimeoutError, ConnectionError) or BadAnswer when there is no response.
        """
        return await self.send(self.endpoint.request("POST", target, media_type, body))

    async def send(self, data: bytes) -> Response:
        """Send a request that the endpoint made; raises as `post` does."""
        async with asyncio.timeout(self._seconds):
            while self._idle:
                connection = self._idle.pop()
                try:
                    return await self._asked(connection, data)
                except Stale:
                    continue
            return await self._asked(await self._connected(), data)

    async def _asked(self, connection: Connection, data: bytes) -> Response:
        response = await connection.request(data)
        if connection.alive:
            self._idle.append(connection)
        return response

    async def _connected(self) -> Connection:
        point = self.endpoint
        async with asyncio.timeout(CONNECT_SECONDS):
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(
                Connection, point.host, point.port, ssl=point.ssl
            )
        return connection

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().close()
