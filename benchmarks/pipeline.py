"""Upload to ready: latency of the pipeline, idle and at half its maximum, and roles' memory.

Starts an instance of its own (`atelier up`) and drives it over HTTP: python -m benchmarks.pipeline
[--seconds 20]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx2

from benchmarks.usage import family
from tests.system.instance import Instance

PHOTO = (Path(__file__).parents[1] / "tests" / "photos" / "waterfall_640x480.jpg").read_bytes()
DESCRIPTION = "С начала фазы запрещающего сигнала прошло: 7 секунд"
IDLE_UPLOADS = 100
CLIENTS = 32
POLL_SECONDS = 0.002


async def upload(client: httpx2.AsyncClient) -> str:
    """Send one photograph; the URL of its record."""
    files = {"file": ("waterfall.jpg", PHOTO, "image/jpeg")}
    answer = await client.post("/api/images", files=files, data={"description": DESCRIPTION})
    answer.raise_for_status()
    return str(answer.json()["url"]) + "/info"


async def ready(client: httpx2.AsyncClient, url: str, pause: float = POLL_SECONDS) -> None:
    """Wait until a picture is ready."""
    while (await client.get(url)).json()["status"] == "queued":
        await asyncio.sleep(pause)


async def one(client: httpx2.AsyncClient, pause: float = POLL_SECONDS) -> float:
    """Milliseconds from the first byte of an upload until its picture is known to be ready."""
    began = time.perf_counter()
    await ready(client, await upload(client), pause)
    return (time.perf_counter() - began) * 1000


async def idle(client: httpx2.AsyncClient) -> list[float]:
    """One upload at a time."""
    return [await one(client) for _ in range(IDLE_UPLOADS)]


async def maximum(client: httpx2.AsyncClient, seconds: float) -> float:
    """Pictures a second when `CLIENTS` always have one in progress, up to the last ready one."""
    end, done = time.perf_counter() + seconds, 0

    async def loop() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await one(client, 0.05)
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(CLIENTS)))
    return done / (time.perf_counter() - began)


async def paced(client: httpx2.AsyncClient, rate: float, seconds: float) -> list[float]:
    """Latencies at `rate` uploads a second, sent on time whether or not earlier ones are ready."""
    tasks, began = [], time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one(client, 0.01)))
    return await asyncio.gather(*tasks)


def quantiles(values: list[float]) -> str:
    """Median and 99th percentile in milliseconds."""
    return f"{statistics.median(values):.0f} | {statistics.quantiles(values, n=100)[98]:.0f}"


def memory(instance: Instance) -> dict[str, float]:
    """Proportional set size of each role and engine with its children, in MiB."""
    found = {}
    for name in ("api", "processor", "archiver", "relay", "postgres", "valkey"):
        members = [member for pid in instance.pids(name) for member in family(pid)]
        found[name] = sum(member.memory_full_info().pss for member in members) / 2**20
    return found


async def measure(instance: Instance, seconds: float) -> None:
    """Print the tables."""
    token = instance.user().headers["Authorization"]
    limits = httpx2.Limits(max_connections=256, max_keepalive_connections=256)
    async with httpx2.AsyncClient(
        base_url=instance.url, headers={"Authorization": token}, limits=limits, timeout=60
    ) as client:
        at_rest = memory(instance)
        await asyncio.gather(*(one(client) for _ in range(20)))
        alone = await idle(client)
        most = await maximum(client, seconds)
        half = await paced(client, most / 2, seconds)
        print("| upload to ready | p50 ms | p99 ms |\n|---|---|---|")
        print(f"| idle, {IDLE_UPLOADS} uploads | {quantiles(alone)} |")
        print(f"| at half of the maximum, {most / 2:.0f} a second | {quantiles(half)} |")
        print(f"\nmaximum: {most:.0f} pictures a second, client on the same machine\n")
        busy = memory(instance)
        print("| memory (PSS) | after start, MiB | after the run, MiB |\n|---|---|---|")
        for name, size in at_rest.items():
            print(f"| {name} | {size:.0f} | {busy[name]:.0f} |")


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="length of each loaded phase")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        instance = Instance(Path(folder))
        instance.start()
        try:
            asyncio.run(measure(instance, options.seconds))
        finally:
            instance.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
