"""CPU per job in the worker and idle latency: our queue in batches beside Celery on Redis.

    python -m benchmarks.work_queue [ROUNDS]

A job is 200 bytes and does nothing. The peer's packages are installed into a folder of the
system's temporary folder; without them (no package index) its lines are left out. It is not called
queue.py: scripts beside it would import it in place of Python's own queue.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from redis.asyncio import Redis

from atelier.queue import Job, Queue
from atelier.up.engines import start_valkey

HERE = Path(__file__).parent
PEER = HERE / "peers/celery_peer.py"
REQUIREMENT = "celery[redis]==5.7.*"
BATCHES = {1: 4_000, 16: 20_000, 64: 40_000}  # jobs per measurement
PEER_JOBS = 1_500
IDLE_JOBS = 300
IDLE_PAUSE = 0.01  # seconds between jobs of the idle measurement

Rows = dict[str, list[float]]


def queue(redis: Redis) -> Queue:
    """A queue with room for everything here."""
    return Queue(redis, "bench", limit=1_000_000, attempts=3)


async def busy(url: str, batch: int, count: int, *, batched: bool) -> tuple[float, float]:
    """CPU microseconds per job for sending each of a thousand alone and for taking them all."""
    taken, stop = 0, asyncio.Event()

    async def handler(_: Job) -> None:
        nonlocal taken
        taken += 1
        if taken == count:
            stop.set()

    async def batch_handler(jobs: list[Job]) -> None:
        for job in jobs:
            await handler(job)

    async with Redis.from_url(url) as redis:
        started = time.process_time()
        for _ in range(1000):
            await queue(redis).send(b"x" * 200)
        sending = (time.process_time() - started) / 1000
        await queue(redis).send_many([b"x" * 200] * (count - 1000))
        started = time.process_time()
        if batched:
            await queue(redis).consume_batches(
                batch_handler, consumer="bench", batch=batch, stop=stop
            )
        else:
            await queue(redis).consume(handler, consumer="bench", batch=batch, stop=stop)
        return sending * 1e6, (time.process_time() - started) / count * 1e6


async def idle_worker(url: str) -> None:
    """Milliseconds from before `send` in another process to the handler, as JSON."""
    latencies: list[float] = []
    stop = asyncio.Event()

    async def handler(job: Job) -> None:
        latencies.append((time.monotonic_ns() - int(job.body)) / 1e6)
        if len(latencies) == IDLE_JOBS:
            stop.set()

    async with Redis.from_url(url) as redis:
        print("ready", flush=True)
        await queue(redis).consume(handler, consumer="bench", stop=stop)
    print(json.dumps(latencies), flush=True)


async def idle(url: str) -> list[float]:
    """Latencies of jobs that meet an idle worker process."""
    arguments = [sys.executable, __file__, "idle-worker", url]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        await asyncio.sleep(0.3)
        async with Redis.from_url(url) as redis:
            for _ in range(IDLE_JOBS):
                await queue(redis).send(b"%d" % time.monotonic_ns())
                await asyncio.sleep(IDLE_PAUSE)
        answer: list[float] = json.loads(worker.stdout.readline())
    return answer


def peer_python() -> Path | None:
    """The interpreter of the peer's virtual environment, made when it is missing."""
    folder = Path(tempfile.gettempdir()) / "atelier-bench-celery"
    python = folder / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        REQUIREMENT,
    ]
    return (
        python
        if subprocess.run(install, check=False, capture_output=True).returncode == 0
        else None
    )


def peer(python: Path, url: str, count: int, pause: float) -> tuple[float, list[float]]:
    """The peer's CPU microseconds per job and its latencies in milliseconds.

    Busy without a pause.
    """
    broker = "redis+socket" + url.removeprefix("unix")
    environment = {**os.environ, "PEER_BROKER": broker, "PEER_COUNT": str(count)}
    send = [str(python), str(PEER), "send", str(pause)]
    if not pause:
        subprocess.run(send, env=environment, check=True)
    with subprocess.Popen(
        [str(python), str(PEER), "worker"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        if pause:
            time.sleep(3)  # until it listens; it does not say when
            subprocess.run(send, env=environment, check=True)
        answer = next(json.loads(line) for line in worker.stdout if line.startswith("{"))
        worker.terminate()
    return answer["micros"], answer["latencies"]


def measure(url: str, rounds: int) -> tuple[Rows, Rows]:
    """CPU microseconds per job and idle latencies, by name."""
    cpu: Rows = defaultdict(list)
    latency: Rows = defaultdict(list)
    python = peer_python()
    for _ in range(rounds):
        if python:
            cpu["Celery on Redis, solo pool"].append(peer(python, url, PEER_JOBS, 0)[0])
        for batch, count in BATCHES.items():
            for batched in (False, True):
                sending, taking = asyncio.run(busy(url, batch, count, batched=batched))
                cpu[
                    f"our queue, {'batches' if batched else 'single jobs, reading'} of {batch}"
                ].append(taking)
                cpu["our queue, send"].append(sending)
        latency["our queue"] += asyncio.run(idle(url))
    if python:
        latency["Celery on Redis, solo pool"] += peer(python, url, IDLE_JOBS, IDLE_PAUSE)[1]
    return cpu, latency


def main(rounds: int) -> None:
    """Measure on an engine of its own and print two tables."""
    with tempfile.TemporaryDirectory() as folder:
        engine = start_valkey(Path(folder) / "valkey")
        try:
            cpu, latency = measure(engine.url, rounds)
        finally:
            engine.halt()
    floor = statistics.median(cpu.get("Celery on Redis, solo pool", [0.0]))
    print("| worker | CPU us per job | cheaper than Celery |\n|---|---|---|")
    for name, micros in cpu.items():
        middle = statistics.median(micros)
        ratio = f"{floor / middle:.0f}x" if floor and "send" not in name else ""
        print(f"| {name} | {middle:.1f} | {ratio} |")
    print("\n| idle latency, send to handler | p50 ms | p99 ms |\n|---|---|---|")
    for name, times in latency.items():
        cuts = statistics.quantiles(times, n=100)
        print(f"| {name} | {cuts[49]:.2f} | {cuts[98]:.2f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["idle-worker"]:
        asyncio.run(idle_worker(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
