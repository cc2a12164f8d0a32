"""The roles that `atelier up` starts, and the command that runs before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atelier.settings import Settings


def _one(_: Settings) -> int:
    return 1


@dataclass(frozen=True)
class Role:
    """A role's command: the arguments of the Python interpreter, and how it is stopped."""

    name: str
    arguments: tuple[str, ...]
    drain_seconds: float = 20  # to finish its current work after SIGTERM
    copies: Callable[[Settings], int] = _one
    public: bool = False  # its address is on the start screen: users wait for it


def _atelier(name: str) -> tuple[str, ...]:
    # -P: a folder called `atelier` in the working directory is not the package.
    return ("-P", "-m", "atelier", name)


# Quiet: without Celery's banner.
FILES = ("celery", "--quiet", "-A", "atelier.files", "worker", "--loglevel", "INFO")
# A separate process, so that its libraries do not stay in the supervisor's memory.
MIGRATE = Role("migrate", _atelier("migrate"))

ROLES = (
    Role("api", _atelier("api"), copies=lambda settings: settings.api_workers, public=True),
    Role("processor", _atelier("processor")),
    Role("archiver", _atelier("archiver")),
    Role("relay", _atelier("relay")),
    Role("files", ("-P", "-m", *FILES), drain_seconds=30),
    Role("grpc", _atelier("grpc"), copies=lambda settings: settings.grpc_workers, public=True),
)
