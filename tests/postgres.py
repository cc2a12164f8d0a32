"""A PostgreSQL of an earlier version: its superuser owns the tables, and all are believed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from atelier.up.engines.account import account_for
from atelier.up.engines.binaries import find_postgres
from atelier.up.engines.process import clean_environment
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARGUMENTS = ["-U", "atelier", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]


@contextmanager
def trusting_postgres(folder: Path) -> Iterator[str]:
    """Yield the superuser's URL of a server on a new cluster, which stays when the server ends."""
    account = account_for(None, None)
    options: dict[str, Any] = account.popen_options() if account else {}
    options |= {"env": clean_environment(), "cwd": "/"}
    programs = find_postgres()
    folder.mkdir()
    if account:
        shutil.chown(folder, account.uid, account.gid)
    subprocess.run(
        [programs / "initdb", "-D", folder, *ARGUMENTS], check=True, capture_output=True, **options
    )
    subprocess.run(
        [programs / "postgres", "--single", "-D", folder, "postgres"],
        input=b"CREATE DATABASE atelier\n",
        check=True,
        capture_output=True,
        **options,
    )
    settings = ["-c", "listen_addresses=", "-c", "unix_socket_directories=.", "-c", "fsync=off"]
    with subprocess.Popen(
        [programs / "postgres", "-D", folder, *settings],
        stderr=subprocess.DEVNULL,
        **options,
    ) as server:
        try:
            pid_file = folder / "postmaster.pid"
            until(lambda: pid_file.exists() and "ready" in pid_file.read_text())
            yield f"postgresql://atelier@/atelier?host={quote(os.fspath(folder))}"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(PATIENCE_SECONDS)
