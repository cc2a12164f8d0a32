"""What can keep an embedded engine from running; each message says what the operator can do."""

from __future__ import annotations

from pathlib import Path

from atelier.disk import FULL
from atelier.errors import AtelierError

DISK_FULL_SIGNS = ("No space left on device", "Disk quota exceeded")


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
    """An earlier instance's engine is still shutting down here; it will be gone soon."""


class FolderUnusable(EngineError):
    """The folder cannot be written."""


class DiskFull(EngineError):
    """There is no space left on the disk."""


def from_os_error(error: OSError, path: Path) -> EngineError:
    """The operating system's refusal in the operator's words."""
    if error.errno in FULL:
        return DiskFull(f"No space left on the disk of {path}.")
    return FolderUnusable(f"{path} cannot be used: {error.strerror or error}.")


def from_log(name: str, tail: str, log: Path) -> EngineError:
    """The reason in an engine's last words."""
    if any(sign in tail for sign in DISK_FULL_SIGNS):
        return DiskFull(f"{name} cannot start: no space left on the disk (see {log}).")
    lines = [line for line in tail.strip().splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    reason = (fatal or lines or ["it said nothing"])[-1].strip()
    return EngineError(f"{name} did not start: {reason} (see {log}).")
