"""The roles that `atelier up` starts, and the one command that runs before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atelier.settings import Settings


def _one(_: Settings) -> int:
    return 1


@dataclass(frozen=True)
class Role:
    """A command of its own: what follows the Python interpreter, and how it is stopped."""

    name: str
    arguments: tuple[str, ...]
    drain_seconds: float = 20  # to finish what it has begun, after SIGTERM
    copies: Callable[[Settings], int] = _one
    door: bool = False  # has an address that the start screen shows: somebody waits for it


def _atelier(name: str) -> tuple[str, ...]:
    return (
        "-P",
        "-m",
        "atelier",
        name,
    )  # -P: a folder called `atelier` in the working directory is not ours


FILES = (
    "celery",
    "--quiet",
    "-A",
    "atelier.files",
    "worker",
    "--loglevel",
    "INFO",
)  # no screenful about itself
MIGRATE = Role(
    "migrate", _atelier("migrate")
)  # a process of its own: its libraries need not stay in our memory

ROLES = (
    Role("api", _atelier("api"), copies=lambda settings: settings.api_workers, door=True),
    Role("processor", _atelier("processor")),
    Role("archiver", _atelier("archiver")),
    Role("relay", _atelier("relay")),
    Role("files", ("-P", "-m", *FILES), drain_seconds=30),
    Role("grpc", _atelier("grpc"), copies=lambda settings: settings.grpc_workers, door=True),
)
