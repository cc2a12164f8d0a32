"""A stand-in of the classification service: configurable latency, errors, garbage.

Counts what it was asked.

    python standin.py --port 9000 --latency 0.03 --fail 0.01 --garbage 0.001

`POST /api/classify` answers `{"class", "score"}`, both made from the magic number; `POST /stats`
takes statistics; `GET /count` tells how many requests came. `--log FILE` appends the magic number
and size of each picture.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import zlib
from pathlib import Path
from typing import IO

import httptools

CLASSES = ("cat", "dog", "tree", "house", "car")


class Service:
    """State shared by all connections."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.asked = 0
        self.stats = 0
        self.log: IO[str] | None = (
            Path(options.log).open("a", buffering=1) if options.log else None
        )
        self.chance = random.Random(options.seed)

    def classify(self, query: str, body: bytes) -> tuple[int, bytes, float]:
        """Status, body and latency of one answer."""
        self.asked += 1
        if self.log:
            self.log.write(f"{query} {len(body)}\n")
        luck, options = self.chance.random(), self.options
        if luck < options.fail:
            return options.fail_status, b"sorry", options.latency
        if luck < options.fail + options.garbage:
            return 200, b"<html>not JSON</html>", options.latency
        number = zlib.crc32(query.encode()) if body[:2] == b"\xff\xd8" else 0
        label = CLASSES[sum(query.encode()) % len(CLASSES)]
        return (
            200,
            b'{"class":"%s","score":%.3f}' % (label.encode(), (number % 1000) / 1000),
            options.latency,
        )


class Connection(asyncio.Protocol):
    """One client, one request at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._parser = httptools.HttpRequestParser(self)
        self._body = bytearray()
        self._url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        """Called by httptools."""
        self._url += url

    def on_body(self, body: bytes) -> None:
        """Called by httptools."""
        self._body += body

    def on_message_complete(self) -> None:
        """Called by httptools."""
        path, _, query = self._url.decode().partition("?")
        service, body = self._service, bytes(self._body)
        self._url, self._body = b"", bytearray()
        if path == "/count":
            self._answer(200, b'{"asked":%d,"stats":%d}' % (service.asked, service.stats))
        elif path == "/stats":
            service.stats += body.count(b"{")
            self._later(
                service.options.stats_latency, 204 if not service.options.stats_fail else 500, b""
            )
        elif path.endswith("/api/classify"):
            status, answer, latency = service.classify(query, body)
            self._later(latency, status, answer)
        else:
            self._answer(404, b"no such path")

    def _later(self, seconds: float, status: int, body: bytes) -> None:
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._answer, status, body)
        else:
            self._answer(status, body)

    def _answer(self, status: int, body: bytes) -> None:
        if self._transport.is_closing():
            return
        after = self._service.options.retry_after
        extra = f"Retry-After: {after}\r\n" if after and status in (429, 503) else ""
        self._transport.write(
            f"HTTP/1.1 {status} OK\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body
        )


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    service = Service(options)
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", options.port)
    print(server.sockets[0].getsockname()[1], flush=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--port", type=int, default=0, help="0: any; the port is the first line of output"
    )
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument(
        "--fail", type=float, default=0.0, help="share of answers with --fail-status"
    )
    parser.add_argument("--fail-status", type=int, default=500)
    parser.add_argument("--retry-after", default="", help="header of 429 and 503 answers")
    parser.add_argument(
        "--garbage", type=float, default=0.0, help="share of answers that are not JSON"
    )
    parser.add_argument("--stats-latency", type=float, default=0.0)
    parser.add_argument("--stats-fail", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", default="")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
