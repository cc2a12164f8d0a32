"""The unprivileged user that runs PostgreSQL when we are root."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atelier.up.engines.errors import EngineError

DEFAULT_USERS = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A user of the system, not root."""

    name: str
    uid: int
    gid: int

    def popen_options(self) -> dict[str, Any]:
        """Options with which `subprocess` becomes this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def run(self, arguments: Sequence[str | Path]) -> bool:
        """Return whether the command succeeds as this user."""
        try:
            done = subprocess.run(  # noqa: S603 - our own short commands
                arguments,
                check=False,
                capture_output=True,
                cwd="/",
                timeout=20,
                **self.popen_options(),
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0

    def can_write(self, folder: Path) -> bool:
        """Return whether this user can reach and write the folder.

        The kernel decides, with mode bits, ACLs and mounts.
        """
        return self.run(["/bin/sh", "-c", 'cd "$0" && test -w .', folder])


def account_for(name: str | None, data_owner: int | None) -> Account | None:
    """Return the user that runs PostgreSQL: None (ourselves) unless we are root.

    As root it is the data's owner, or `name`, or a customary user.
    """
    if os.geteuid() != 0:
        return None
    if data_owner:
        return _by_uid(data_owner)
    for candidate in (name,) if name else DEFAULT_USERS:
        try:
            entry = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(candidate, entry.pw_uid, entry.pw_gid)
    wanted = name or " nor ".join(DEFAULT_USERS)
    raise EngineError(
        f"PostgreSQL does not run as root and there is no user {wanted}: "
        "set ATELIER_POSTGRES_USER or ATELIER_DATABASE_URL."
    )


def _by_uid(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(str(uid), uid, uid)
    return Account(entry.pw_name, uid, entry.pw_gid)
