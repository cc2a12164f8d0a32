"""Checks before anything is started: a writable data folder, free ports, a secret."""

from __future__ import annotations

import errno
import secrets
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from atelier.disk import replace
from atelier.errors import AtelierError
from atelier.observe.health import PortTaken, taken
from atelier.settings import Settings
from atelier.up.engines.errors import DiskFull, from_os_error
from atelier.up.engines.process import take_lock

LOCK = "atelier.lock"
SECRET = "secret"  # noqa: S105 - the file's name
SECRET_LENGTH = 48  # random bytes
DISK_BYTES = 64 * 1024 * 1024  # with less the disk counts as full: engines need room to recover
LOCK_PATIENCE_SECONDS = 5
LAST_PORT = 65535
# Roles with a port for metrics, in the order of their ports.
MEASURED = ("processor", "archiver", "relay", "grpc", "files", "api")


def take_folder(folder: Path) -> int:
    """Make the data folder if missing and lock it for this process; return the descriptor."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise from_os_error(error, folder) from error
    if free < DISK_BYTES:
        raise DiskFull(
            f"The disk of {folder} has {free // 1024**2} MiB left; Atelier needs "
            f"{DISK_BYTES // 1024**2}."
        )
    return take_lock(folder / LOCK, folder, LOCK_PATIENCE_SECONDS)


def free_port(host: str, port: int, setting: str) -> int:
    """Return the port once it is known to be free; for 0, any free one."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen(1)
            return int(probe.getsockname()[1])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise taken(host, port, setting) from error
        raise AtelierError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}."
        ) from error


def free_ports(host: str, wanted: Mapping[str, int]) -> dict[str, int]:
    """Return a free port for each option. Raises PortTaken, which names all that are taken."""
    free: dict[str, int] = {}
    lost: dict[str, int] = {}
    for option, port in wanted.items():
        try:
            free[option] = free_port(host, port, option)
        except PortTaken:
            lost[option] = port
    if len(lost) > 1:
        numbers, options = " and ".join(map(str, lost.values())), " and another ".join(lost)
        raise PortTaken(
            f"Ports {numbers} of {host} are taken by other programs: choose another {options}."
        )
    for option, port in lost.items():
        raise taken(host, port, option)
    return free


def require_two_ports(settings: Settings) -> None:
    """Raise PortTaken when HTTP and gRPC are set to the same port."""
    if settings.port == settings.grpc_port != 0:
        raise PortTaken(
            f"port and grpc_port are both {settings.port}: choose another --port or another "
            "--grpc-port."
        )


def metrics_ports(settings: Settings, roles: Sequence[str]) -> dict[str, int]:
    """Return the port of each role's metrics and health, counted up from `metrics_port`.

    Empty when that is not set.
    """
    first = settings.metrics_port
    if first is None:
        return {}
    ports = [first + place if first else 0 for place in range(len(MEASURED))]
    served = {settings.port: "the API", settings.grpc_port: "gRPC"}
    if ports[-1] > LAST_PORT or (clash := served.keys() & set(ports) - {0}):
        reason = (
            f"{served[clash.pop()]} listens on one of them"
            if ports[-1] <= LAST_PORT
            else "there are no such ports"
        )
        raise PortTaken(
            f"ATELIER_METRICS_PORT asks for ports {first} to {ports[-1]}, but {reason}: choose "
            "another."
        )
    wanted = [(name, port) for name, port in zip(MEASURED, ports, strict=True) if name in roles]
    return {name: free_port(settings.host, port, "ATELIER_METRICS_PORT") for name, port in wanted}


def keep_secret(folder: Path) -> str:
    """Return the secret of the data folder; make it on the first start.

    The file is complete or absent.
    """
    path = folder / SECRET
    try:
        if not path.exists():
            replace(path, secrets.token_urlsafe(SECRET_LENGTH).encode(), mode=0o600)
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise from_os_error(error, path) from error
