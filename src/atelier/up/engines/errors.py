"""Errors of embedded engines; each message says what the operator can do."""

from __future__ import annotations

from pathlib import Path

from atelier.disk import FULL
from atelier.errors import AtelierError

DISK_FULL_MARKERS = ("No space left on device", "Disk quota exceeded")


class EngineError(AtelierError):
    """An embedded engine cannot run."""

    slug = "engine"


class EngineMissing(EngineError):
    """No binary of this engine was found."""


class EngineVersionMismatch(EngineError):
    """The data was written by another major version."""


class FolderInUse(EngineError):
    """Another running instance uses this folder."""


class FolderBusy(FolderInUse):
    """An earlier instance's engine is still shutting down here; it holds the file `lock`."""

    def __init__(self, detail: str, lock: Path) -> None:
        super().__init__(detail)
        self.lock = lock


class EngineFailed(EngineError):
    """It was started and did not come up; the next start may succeed."""


class FolderUnusable(EngineError):
    """The folder cannot be written."""


class DiskFull(EngineError):
    """There is no space left on the disk."""


def from_os_error(error: OSError, path: Path) -> EngineError:
    """The operating system's refusal in the operator's words."""
    if error.errno in FULL:
        return DiskFull(f"No space left on the disk of {path}.")
    return FolderUnusable(f"{path} cannot be used: {error.strerror or error}.")


def from_log(name: str, last_lines: str, log: Path) -> EngineError:
    """Find the reason in the last lines of an engine's log."""
    if any(marker in last_lines for marker in DISK_FULL_MARKERS):
        return DiskFull(f"{name} cannot start: no space left on the disk (see {log}).")
    reason = last_error(last_lines) or "it said nothing"
    return EngineFailed(f"{name} did not start: {reason} (see {log}).")


def last_error(last_lines: str) -> str:
    """Return the last line that speaks of an error, else the last one; empty without any."""
    lines = [line.strip() for line in last_lines.splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (fatal or lines or [""])[-1]
