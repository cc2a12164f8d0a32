"""The memory of this machine, or of the container in which we run."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MIB = 1024 * 1024
CGROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
SHARE = 4  # of the machine's memory the engine of queue and cache may have one part in so many
LEAST = 256 * MIB


def valkey_memory() -> int:
    """Return the bytes that the embedded Valkey may take where no setting says otherwise."""
    return max(LEAST, machine_memory() // SHARE)


def machine_memory() -> int:
    """Return the bytes of memory that there are, as far as a container lets us have them."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in CGROUPS:
        with suppress(OSError, ValueError):  # ValueError: `max`
            found.append(int(limit.read_text(encoding="ascii")))
    return min(found)
