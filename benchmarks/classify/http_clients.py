"""HTTP clients that classify could use: CPU per request, sending 30 KB and reading a small answer.

    python http_clients.py [--aiohttp OTHER_VENV/bin/python] [--rounds 5] [--requests 4000]

aiohttp is not among the dependencies: `--aiohttp` names a Python that has it (and uvloop). Each
client is a process that runs while the others wait, rounds are interleaved, the median counts,
and the stand-in of the service is a process whose CPU is not counted. The floor writes one
request and counts the bytes of its answer, without reading HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

Ask = Callable[[], Awaitable[object]]

HERE = Path(__file__).parent
BODY = b"\xff\xd8" + bytes(30_000)
TARGET = "/api/classify?magic=1.5&magic=2.5&magic=3.5"
AT_ONCE = 32
CLIENTS = ("floor", "ours", "aiohttp", "httpcore2", "httpx2")


class Floor(asyncio.Protocol):
    """Sends bytes and waits for as many as the answer of the stand-in has."""

    def __init__(self, request: bytes) -> None:
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport

    async def ask(self) -> None:
        """One request and its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        await self._answer

    def data_received(self, data: bytes) -> None:
        """Called by asyncio; the stand-in sends its short answer in one piece."""
        assert data.endswith(b"}")
        self._answer.set_result(None)


@asynccontextmanager
async def floor(url: str) -> AsyncIterator[Ask]:
    """Connections that are taken in turn."""
    host, port = url.removeprefix("http://").split(":")
    head = f"POST {TARGET} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    loop, idle = asyncio.get_running_loop(), []
    for _ in range(AT_ONCE):
        made = await loop.create_connection(lambda: Floor(head.encode() + BODY), host, int(port))
        idle.append(made[1])

    async def ask() -> None:
        connection = idle.pop()
        await connection.ask()
        idle.append(connection)

    yield ask


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Ask]:
    """As classify uses it."""
    from atelier.classify.http_client import Client, Endpoint

    client = Client(Endpoint(url), seconds=30)

    async def ask() -> None:
        response = await client.post(TARGET, "image/jpeg", BODY)
        assert response.status == 200

    yield ask
    client.close()


@asynccontextmanager
async def aiohttp(url: str) -> AsyncIterator[Ask]:
    """One session without cookies, and a URL that is not quoted again."""
    import aiohttp as library
    from yarl import URL

    address, headers = URL(url + TARGET, encoded=True), {"Content-Type": "image/jpeg"}
    options = {"connector": library.TCPConnector(limit=AT_ONCE), "auto_decompress": False}
    cookies = library.DummyCookieJar()
    async with library.ClientSession(cookie_jar=cookies, **options) as session:

        async def ask() -> None:
            async with session.post(address, data=BODY, headers=headers) as response:
                await response.read()
                assert response.status == 200

        yield ask


@asynccontextmanager
async def httpcore2(url: str) -> AsyncIterator[Ask]:
    """The pool below httpx2, without its models."""
    import httpcore2 as library

    address = library.URL(url + TARGET)
    host, length = address.host + b":%d" % (address.port or 80), str(len(BODY)).encode()
    headers = [(b"Host", host), (b"Content-Type", b"image/jpeg"), (b"Content-Length", length)]
    async with library.AsyncConnectionPool(max_connections=AT_ONCE) as pool:

        async def ask() -> None:
            response = await pool.request("POST", address, headers=headers, content=BODY)
            assert response.status == 200

        yield ask


@asynccontextmanager
async def httpx2(url: str) -> AsyncIterator[Ask]:
    """One client."""
    import httpx2 as library

    limits = library.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with library.AsyncClient(limits=limits) as client:

        async def ask() -> None:
            headers = {"Content-Type": "image/jpeg"}
            response = await client.post(url + TARGET, content=BODY, headers=headers)
            assert response.status_code == 200

        yield ask


async def contest(name: str, url: str, requests: int) -> float:
    """CPU microseconds per request of one client in this process."""
    async with globals()[name](url) as ask:

        async def work(count: int) -> None:
            for _ in range(count):
                await ask()

        await asyncio.gather(*(work(10) for _ in range(AT_ONCE)))
        before = time.process_time()
        await asyncio.gather(*(work(requests // AT_ONCE) for _ in range(AT_ONCE)))
        return (time.process_time() - before) / (requests // AT_ONCE * AT_ONCE) * 1e6


def run(name: str, loop: str, url: str, requests: int) -> None:
    """Print the figure of one client on one event loop."""
    factory = None
    if loop == "uvloop":
        from uvloop import new_event_loop as factory
    with asyncio.Runner(loop_factory=factory) as runner:
        print(runner.run(contest(name, url, requests)))


def compare(options: argparse.Namespace, url: str) -> None:
    """All clients on both loops, in turns."""
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.rounds):
        for name in CLIENTS:
            python = options.aiohttp if name == "aiohttp" else sys.executable
            for loop in ("asyncio", "uvloop") if python else ():
                command = [python, __file__, "--contestant", name, loop, url]
                command += ["--requests", str(options.requests)]
                said = subprocess.run(command, check=True, capture_output=True, text=True)
                found.setdefault((name, loop), []).append(float(said.stdout))
    print("| client | asyncio, CPU us | uvloop, CPU us | times ours |\n|---|---|---|---|")
    middle = {key: statistics.median(values) for key, values in found.items()}
    for name in (name for name in CLIENTS if (name, "asyncio") in middle):
        plain, fast = middle[name, "asyncio"], middle[name, "uvloop"]
        print(f"| {name} | {plain:.0f} | {fast:.0f} | {plain / middle['ours', 'asyncio']:.1f} |")


def main() -> None:
    """Run as one contestant, or run all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aiohttp", help="a Python that has aiohttp and uvloop")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--contestant", nargs=3, metavar=("NAME", "LOOP", "URL"))
    options = parser.parse_args()
    if options.contestant:
        run(*options.contestant, options.requests)
        return
    command = [sys.executable, str(HERE / "standin.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout
        try:
            compare(options, f"http://127.0.0.1:{service.stdout.readline().strip()}")
        finally:
            service.terminate()


if __name__ == "__main__":
    main()
