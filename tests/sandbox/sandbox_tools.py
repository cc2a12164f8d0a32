"""Shared by the sandbox's tests: a sandbox on their own targets, and a look at processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from atelier.sandbox.sandbox import Sandbox

FOLDER = str(Path(__file__).parent)
PHOTOS = Path(__file__).parents[1] / "photos"
AMPLE_SECONDS = 600.0  # a limit of time that no call meets, however busy the machine is


def open_sandbox(target: str = "act", returns: Any = Any, **settings: Any) -> Sandbox[Any]:
    """Make a sandbox for a function of sandbox_targets."""
    defaults: dict[str, Any] = {
        "children": 1,
        "seconds": AMPLE_SECONDS,
        "memory": 512 * 2**20,
        "path": [FOLDER],
    }
    return Sandbox(f"sandbox_targets:{target}", returns, **(defaults | settings))


def alive(pid: int) -> bool:
    """True if a process still runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def cpu_seconds(pid: int) -> float:
    """Processor time that another process has used."""
    return time.clock_gettime((~pid << 3) | 2)
