"""Streams of `GET /api/events`: what each takes of a real API process, and how late events come.

All streams show all events. Memory is what the process has resident; the time of an event runs
from before it gets its position, as the relay does it, until a client has it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import asyncpg
import psutil

from atelier.events import relay
from atelier.observe import probe
from benchmarks.engines import Engines, engines, signed_in
from benchmarks.usage import cpu_seconds

SECRET = "benchmark " * 4
SAMPLES = 10  # streams whose times are looked at; reading all would measure the client
EVENT = """
    INSERT INTO outbox (type, subject, sequence, data)
    VALUES ('book.created', 'books/' || $1::bigint, 1, $2)
"""
DATA = '{"title": "%s", "author": "An author", "publication_date": "1869-01-01"}' % ("t" * 200)
SUBJECT = re.compile(rb'"subject":"books/(\d+)"')


class Client(asyncio.Protocol):
    """One stream: counts its events, and notes when each came if it is a sample."""

    def __init__(self, request: bytes, arrived: dict[int, list[float]] | None) -> None:
        self._request, self._arrived = request, arrived
        self.events = 0
        self.opened = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count; an event comes in one piece over loopback, or is found by its beginning."""
        self.opened = self.opened or b"retry:" in data
        self.events += data.count(b"\ndata: ")
        if self._arrived is not None:
            now = time.perf_counter()
            for number in SUBJECT.findall(data):
                self._arrived.setdefault(int(number), []).append(now)


@contextmanager
def api(made: Engines, streams: int) -> Iterator[tuple[int, int]]:
    """Port and pid of an API process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "DATABASE_URL": made.postgres.url,
        "REDIS_URL": made.valkey.url,
        "SECRET": SECRET,
        "DATA": str(made.folder / "data"),
        "PORT": str(port),
        "EVENT_STREAMS": str(streams),
        "CLIENT_CONNECTIONS": str(2 * streams),
    }
    environment = os.environ | {f"ATELIER_{name}": value for name, value in settings.items()}
    process = subprocess.Popen([sys.executable, "-m", "atelier", "api"], env=environment)
    try:
        while not answers(port):
            time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    """Whether the API is up."""
    try:
        return probe.ask("127.0.0.1", port, "/healthz")[0] == 200
    except OSError:
        return False


def _itself(client: Client) -> Client:
    return client


async def happen(url: str, events: int, rate: float) -> dict[int, float]:
    """Have events happen at a rate; when each was about to get its position."""
    connection = await asyncpg.connect(url)
    await connection.execute(relay.START)
    sent = {}
    began = time.perf_counter()
    for number in range(events):
        await connection.execute(EVENT, number, DATA)
        ids = [row["id"] for row in await connection.fetch(relay.UNSENT, [])]
        sent[number] = time.perf_counter()
        await connection.fetch(relay.STAMP, ids)
        await asyncio.sleep(max(0.0, began + (number + 1) / rate - time.perf_counter()))
    await connection.close()
    return sent


async def measure(made: Engines, port: int, pid: int, chosen: argparse.Namespace) -> None:
    """Open the streams, have the events happen, print."""
    token = signed_in(made.postgres.url, SECRET)
    request = (
        f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()
    loop, arrived = asyncio.get_running_loop(), dict[int, list[float]]()
    resident = [psutil.Process(pid).memory_info().rss]
    clients = []
    for number in range(chosen.streams):
        client = Client(request, arrived if number < SAMPLES else None)
        await loop.create_connection(partial(_itself, client), "127.0.0.1", port)
        clients.append(client)
    while not all(client.opened for client in clients):
        await asyncio.sleep(0.05)
    resident.append(psutil.Process(pid).memory_info().rss)
    before = cpu_seconds(pid)
    sent = await happen(made.postgres.url, chosen.events, chosen.rate)
    while min(client.events for client in clients) < chosen.events:
        await asyncio.sleep(0.05)
    used = cpu_seconds(pid) - before
    resident.append(psutil.Process(pid).memory_info().rss)
    times = sorted(at - sent[number] for number, found in arrived.items() for at in found)
    report(chosen, resident, used, times)


def report(
    chosen: argparse.Namespace, resident: list[int], used: float, times: list[float]
) -> None:
    """Print what was measured."""
    deliveries = chosen.streams * chosen.events
    opened = (resident[1] - resident[0]) / chosen.streams / 1024
    after = (resident[2] - resident[0]) / chosen.streams / 1024
    mib = " / ".join(f"{each / 2**20:.0f}" for each in resident)
    print(f"{chosen.streams} streams, {chosen.events} events at {chosen.rate:g} a second")
    print(f"memory before / with streams / after all events: {mib} MiB")
    print(f"memory of a stream: {opened:.1f} KiB when open, {after:.1f} KiB after all events")
    print(f"CPU of the API: {used:.1f} s, {used / deliveries * 1e6:.1f} us per event and stream")
    p95 = times[int(len(times) * 0.95)]
    print(f"delivery: p50 {statistics.median(times) * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms")


def main() -> None:
    """Start everything, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--events", type=int, default=2_000)
    parser.add_argument("--rate", type=float, default=50)
    chosen = parser.parse_args()
    with engines() as made, api(made, chosen.streams) as (port, pid):
        asyncio.run(measure(made, port, pid, chosen))


if __name__ == "__main__":
    main()
