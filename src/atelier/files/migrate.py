"""Migrates Django's table; Alembic's migrations come first, because `files` refers to `users`."""

from __future__ import annotations

import os
import time
from typing import Any

from psycopg.errors import LockNotAvailable

from atelier import locks
from atelier.errors import Unavailable
from atelier.files import SETTINGS_MODULE, django_setup
from atelier.retry import retry

LOCK_TIMEOUT_MS = 2_000  # the longest that a step may make requests wait
TRIES, PAUSE_SECONDS = 60, 3  # five minutes, in which requests are served
TURN_SECONDS = 0.2  # between two looks at whether another migrator is done


@retry(times=TRIES, delay=PAUSE_SECONDS, exceptions=Unavailable)
def migrate(url: str, step: str | None = None) -> None:
    """Apply Django's missing migrations to the database at `url`, or those up to `step`."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS_MODULE)
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import OperationalError, connections

    before = connections.settings["default"]
    django_setup.use_database(url)
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            _take_turn(cursor)
            cursor.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        call_command("migrate", *(("files", step) if step else ()), interactive=False, verbosity=0)
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise Unavailable(
                "Tables are in use by long transactions (pg_stat_activity); run it again."
            ) from error
        raise
    finally:
        django_setup.disconnect()
        connections.settings["default"] = before


def _take_turn(cursor: Any) -> None:
    """Be the only migrator until the connection ends.

    Waits without a snapshot, which a migrator before this one would have to wait for.
    """
    while True:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [locks.FILES_MIGRATION])
        if cursor.fetchone()[0]:
            return
        time.sleep(TURN_SECONDS)
