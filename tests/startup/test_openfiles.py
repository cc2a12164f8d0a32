"""The limit of open files, in processes of their own."""

from __future__ import annotations

import resource
import sys

import pytest

from atelier.startup.openfiles import OPEN_FILES
from tests.waiting import finished

HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
ASK = "from atelier.startup import openfiles; print(openfiles.{0}())"


def asked(function: str, soft: int, hard: int) -> int:
    """What a function says in a process with these limits."""
    limits = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}));"
    found = finished([sys.executable, "-c", limits + ASK.format(function)])
    assert found.returncode == 0, found.stderr
    return int(found.stdout)


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [(256, 2048, 2048), (256, 256, 256), (1024, HARD, min(HARD, OPEN_FILES))],
)
def test_the_soft_limit_becomes_the_hard_one(soft: int, hard: int, raised: int) -> None:
    """Up to what is enough; where it is the hard one already nothing happens."""
    assert asked("raise_open_files", soft, hard) == raised


def test_clients_leave_files_for_the_rest() -> None:
    """Each connection may have a file beside its socket, and some are for engines and logs."""
    assert asked("most_connections", 1024, 1024) == 480
