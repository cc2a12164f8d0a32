"""What was busy while a trial ran: the server's processes, this tool, the machine, its disks, the queues."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.capacity import processes
from benchmarks.capacity.results import Usage

BACKLOG = re.compile(
    rb'^(?:atelier_queue_jobs\{queue="([a-z]+)"\}|atelier_(outbox)_unsent_events) ([0-9.e+]+)$', re.MULTILINE
)
"""What the relay's /metrics says of work that waits."""

_WHOLE_DISK = re.compile(r"^(?:sd[a-z]+|vd[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+)$")


@dataclass(slots=True)
class Sample:
    """Counters at one moment."""

    at: float
    client: float
    cpu: dict[int, float]
    reaped: dict[int, float]
    roles: dict[int, str]
    machine: tuple[int, int] | None
    disks: dict[str, int] = field(default_factory=dict)


class Watch:
    """Looks at the processes that serve a port of this machine; none: they are elsewhere."""

    def __init__(self, port: int | None) -> None:
        self._port = port
        self.roles = processes.server(port) if port else {}

    def metrics(self) -> list[str]:
        """Where the relay, if it is one of them, may tell what waits."""
        return [
            f"http://127.0.0.1:{port}/metrics"
            for pid, role in self.roles.items()
            if role == "relay"
            for port in processes.ports(pid)
        ]

    def sample(self) -> Sample:
        """Read the counters; the processes are looked for anew, for some may have been restarted."""
        if self._port:
            self.roles = processes.server(self._port)
        cpu = {pid: used for pid in self.roles if (used := processes.cpu_seconds(pid)) is not None}
        reaped = {pid: processes.reaped_seconds(pid) for pid in cpu}
        return Sample(time.monotonic(), time.process_time(), cpu, reaped, dict(self.roles), machine_ticks(), _disks())

    def between(self, before: Sample, after: Sample) -> Usage:
        """What was busy between two moments.

        What a process has used goes over to its parent when it has ended, so that short-lived ones count as well.
        """
        seconds = max(after.at - before.at, 1e-9)
        cores: dict[str, float] = defaultdict(float)
        busiest: dict[str, float] = defaultdict(float)
        for sample, sign in ((before, -1), (after, 1)):
            for pid, used in sample.cpu.items():
                cores[sample.roles[pid]] += sign * (used + sample.reaped[pid]) / seconds
        for pid, used in after.cpu.items():
            role = after.roles[pid]
            busiest[role] = max(busiest[role], (used - before.cpu.get(pid, 0.0)) / seconds)
        disk = max(
            (after.disks[name] - start for name, start in before.disks.items() if name in after.disks), default=0
        )
        client = (after.client - before.client) / seconds
        machine = busy(before.machine, after.machine)
        ours = client + sum(max(0.0, used) for used in cores.values())
        others = machine * (os.cpu_count() or 1) - ours if machine and self.roles else 0.0
        return Usage(
            seconds=round(seconds, 3),
            cores=_rounded(cores),
            busiest=_rounded(busiest),
            client=round(client, 3),
            machine=machine,
            disk=round(min(1.0, disk / 1000 / seconds), 3) if before.disks else None,
            allowed=next((allowed for pid in self.roles if (allowed := processes.cores_of(pid))), None),
            others=round(max(0.0, others), 3),
        )


def machine_ticks() -> tuple[int, int] | None:
    """Busy and all ticks of all cores since the machine started."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
    return None


def busy(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    """The busy share of all cores between two moments."""
    if before is None or after is None or after[1] == before[1]:
        return None
    return round((after[0] - before[0]) / (after[1] - before[1]), 3)


def backlog(exposition: bytes) -> dict[str, float]:
    """What waits, by queue, out of what a role's /metrics says."""
    return {(queue or outbox).decode(): float(value) for queue, outbox, value in BACKLOG.findall(exposition)}


def _disks() -> dict[str, int]:
    """Milliseconds in which each whole disk had work."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        rows = [line.split() for line in Path("/proc/diskstats").read_text().splitlines()]
        return {row[2]: int(row[12]) for row in rows if _WHOLE_DISK.match(row[2])}
    return {}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in sorted(values.items()) if value >= 0.001}
