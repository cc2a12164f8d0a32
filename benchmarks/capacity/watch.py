"""CPU and disk use during a trial: the server's processes, this tool, the machine, its disks."""

from __future__ import annotations

import contextlib
import re
import time
from collections import defaultdict
from dataclasses import dataclass

import psutil

from benchmarks import usage
from benchmarks.capacity import processes
from benchmarks.capacity.results import Usage

BACKLOG = re.compile(
    rb'^(?:atelier_queue_jobs\{queue="([a-z]+)"\}|atelier_(outbox)_unsent_events) ([0-9.e+]+)$',
    re.MULTILINE,
)
"""The relay's metrics of waiting work."""

NOISE = 0.001
"""Cores below which a role's use is not told."""


@dataclass(slots=True)
class Sample:
    """Counters at one moment; times in seconds."""

    at: float
    client: float
    cpu: dict[int, usage.Cpu]
    roles: dict[int, str]
    machine: tuple[float, float]
    disks: dict[str, float]


class Watch:
    """Looks at the processes that serve a port of this machine; without a port at none."""

    def __init__(self, port: int | None) -> None:
        self._port = port
        self.roles = processes.server(port) if port else {}

    def metrics(self) -> list[str]:
        """Addresses of /metrics of those that are a relay: it tells what waits."""
        return [
            f"http://127.0.0.1:{port}/metrics"
            for pid, role in self.roles.items()
            if role == "relay"
            for port in processes.ports(pid)
        ]

    def sample(self) -> Sample:
        """Read the counters, of the processes that there are now: some may have been restarted."""
        if self._port:
            self.roles = processes.server(self._port)
        cpu = {}
        for pid in self.roles:
            with contextlib.suppress(psutil.Error):  # it has ended since it was listed
                cpu[pid] = usage.cpu(pid)
        now, client = time.monotonic(), time.process_time()
        return Sample(now, client, cpu, dict(self.roles), machine_seconds(), _disks())

    def between(self, before: Sample, after: Sample) -> Usage:
        """Use between two moments.

        The CPU time of a process goes over to its parent when it has ended and was waited for,
        so that short-lived ones count as well.
        """
        seconds = max(after.at - before.at, 1e-9)
        cores: dict[str, float] = defaultdict(float)
        busiest: dict[str, float] = defaultdict(float)
        for sample, sign in ((before, -1), (after, 1)):
            for pid, used in sample.cpu.items():
                cores[sample.roles[pid]] += sign * (used.own + used.reaped) / seconds
        for pid, used in after.cpu.items():
            role = after.roles[pid]
            earlier = before.cpu[pid].own if pid in before.cpu else 0.0
            busiest[role] = max(busiest[role], (used.own - earlier) / seconds)
        disk = max(
            (after.disks.get(name, start) - start for name, start in before.disks.items()),
            default=0,
        )
        client = (after.client - before.client) / seconds
        machine = busy(before.machine, after.machine)
        ours = client + sum(max(0.0, used) for used in cores.values())
        others = machine * (psutil.cpu_count() or 1) - ours if machine and self.roles else 0.0
        allowed = (processes.cores_of(pid) for pid in self.roles)
        return Usage(
            seconds=round(seconds, 3),
            cores=_rounded(cores),
            busiest=_rounded(busiest),
            client=round(client, 3),
            machine=machine,
            disk=round(min(1.0, disk / seconds), 3) if before.disks else None,
            allowed=next((count for count in allowed if count), None),
            others=round(max(0.0, others), 3),
        )


def machine_seconds() -> tuple[float, float]:
    """Busy time and all time of all cores since the machine started.

    Time stolen by the hypervisor is busy: it cannot be used here. That of guests is in `user`.
    """
    times = psutil.cpu_times()
    idle = times.idle + times.iowait
    working = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
    return working, working + idle


def busy(before: tuple[float, float], after: tuple[float, float]) -> float | None:
    """The busy share of all cores between two moments."""
    if after[1] <= before[1]:
        return None
    return round((after[0] - before[0]) / (after[1] - before[1]), 3)


def backlog(exposition: bytes) -> dict[str, float]:
    """Waiting jobs, by queue, in a role's metrics."""
    found = BACKLOG.findall(exposition)
    return {(queue or outbox).decode(): float(value) for queue, outbox, value in found}


def _disks() -> dict[str, float]:
    """Seconds in which each block device had work; a partition never has more than its disk."""
    with contextlib.suppress(NotImplementedError):  # a container without /proc/diskstats
        counters = psutil.disk_io_counters(perdisk=True) or {}
        return {name: each.busy_time / 1000 for name, each in counters.items()}
    return {}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in sorted(values.items()) if value >= NOISE}
