"""Metrics of several processes on one port: our snapshots beside prometheus_client's own mode.

    python metrics_of_processes.py [--rounds 5]

Both have the same 20 counters and 5 histograms with 5 label values each. Measured are the CPU of
a count, of a scrape with four processes, of the same scrape after 100 processes were killed, the
bytes that those leave behind, and, for ours, the CPU of a snapshot, one of which each process
writes every two seconds. `named` tells whether the CPU and memory of each process are in a scrape.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
    multiprocess,
)

from atelier.observe.exposition import STALE_SECONDS, Exposition

LABELS = tuple("abcde")
LIVE, KILLED, COUNTS, SCRAPES = 4, 100, 100_000, 20
CONTESTANTS = ("ours", "prometheus_client")


class Measured:
    """Metrics of this process, and of each that it forks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        options = {"labelnames": ("label",), "registry": self.registry}
        self.counters = [Counter(f"bench_counter_{n}", "A counter.", **options) for n in range(20)]
        self.histograms = [Histogram(f"bench_seconds_{n}", "Times.", **options) for n in range(5)]

    def count(self, rounds: int) -> None:
        """Count everything."""
        for _ in range(rounds):
            for label in LABELS:
                for counter in self.counters:
                    counter.labels(label).inc()
                for histogram in self.histograms:
                    histogram.labels(label).observe(0.1)


def fork(work: Callable[[], None]) -> int:
    """Run this in a child that ends without any clean-up, as a killed one does."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def spent(work: Callable[[], object], times: int) -> float:
    """CPU milliseconds of one call."""
    work()
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times * 1e3


def size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir())


async def keep(exposition: Exposition) -> None:
    """Write one snapshot, and end without removing it."""
    async with exposition.shared():
        await asyncio.sleep(0.05)
        os._exit(0)


def child(name: str, measured: Measured, folder: Path) -> int:
    """One more process that counted and left its figures."""

    def work() -> None:
        measured.count(10)
        if name == "ours":
            asyncio.run(keep(Exposition(measured.registry, folder=folder)))

    return fork(work)


async def snapshots(exposition: Exposition) -> float:
    """CPU milliseconds of the first snapshot."""
    began = time.process_time()
    async with exposition.shared():
        await asyncio.sleep(0.05)
        return (time.process_time() - began) * 1e3


def contest(name: str, folder: Path) -> dict[str, float]:
    """All figures of one way, in this process."""
    measured = Measured()
    exposition = Exposition(measured.registry, folder=folder)

    def scrape() -> bytes:
        if name == "ours":
            return exposition.text()
        merged = CollectorRegistry()
        multiprocess.MultiProcessCollector(merged)
        return generate_latest(merged)

    measured.count(1)
    counter = measured.counters[0].labels("a")
    found = {"count_ns": spent(counter.inc, COUNTS) * 1e6}
    for _ in range(LIVE - 1):
        child(name, measured, folder)
    found["scrape_ms"] = spent(scrape, SCRAPES)
    for _ in range(KILLED):
        child(name, measured, folder)
    for path in folder.iterdir():  # as if the last of them had died some time ago
        os.utime(path, (time.time() - STALE_SECONDS - 1,) * 2)
    found["later_ms"] = spent(scrape, SCRAPES)
    found["left_kib"] = size(folder) / 1024
    found["snapshot_ms"] = asyncio.run(snapshots(exposition)) if name == "ours" else 0.0
    found["named"] = b"process_resident_memory_bytes" in scrape()
    return found


def main() -> None:
    """Run as one contestant, or run all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contestant", nargs=2, metavar=("NAME", "FOLDER"))
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(contest(options.contestant[0], Path(options.contestant[1]))))
        return
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for name in CONTESTANTS:
            with tempfile.TemporaryDirectory() as folder:
                shared = {"PROMETHEUS_MULTIPROC_DIR": folder} if name != "ours" else {}
                command = [sys.executable, __file__, "--contestant", name, folder]
                pipe = subprocess.PIPE
                said = subprocess.run(command, check=True, stdout=pipe, env=os.environ | shared)
                found.setdefault(name, []).append(json.loads(said.stdout))
    head = "count, ns | scrape of 4, ms | after 100 more, ms | left, KiB | snapshot, ms | named"
    print(f"| | {head} |")
    print("|---|---|---|---|---|---|---|")
    for name, rounds in found.items():
        cells = (statistics.median(one[key] for one in rounds) for key in rounds[0])
        print(f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")


if __name__ == "__main__":
    main()
