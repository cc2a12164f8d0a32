"""Alembic's environment: the URL comes from the caller, the tables from the slices' models."""

from __future__ import annotations

import time
from typing import Literal

from alembic import context
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, NullPool, create_engine, make_url
from sqlalchemy.exc import OperationalError

from atelier import locks
from atelier.database import Base, UtcDateTime
from atelier.errors import Unavailable
from atelier.migrations import tables  # noqa: F401 - fills Base.metadata
from atelier.retry import retry

config = context.config
DJANGO = {"files", "django_migrations"}
LOCK_TIMEOUT_MS = 2_000  # requests may wait this long behind a step
TRIES, PAUSE_SECONDS = 60, 3  # five minutes, in which requests are served
TURN_SECONDS = 0.2  # between polls while another migrator runs


def render(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write our own column types as the database's: a migration must outlive the class."""
    return (
        "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False
    )


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """Return whether an object is the models'.

    Django's two tables have their own migrations, and not every server has trigram indexes.
    """
    trigrams = kind == "index" and (name or "").endswith("_trigrams")
    return not trigrams and not (kind == "table" and name in DJANGO)


@retry(times=TRIES, delay=PAUSE_SECONDS, exceptions=Unavailable)
def run() -> None:
    """Migrate online, one migrator at a time, each step a transaction.

    A statement that waits for a table makes all others wait behind it, so none waits long: its
    step is rolled back and tried again. Raises Unavailable when tables stay in use.
    """
    url = make_url(config.attributes["url"]).set(drivername="postgresql+psycopg")
    with create_engine(url, poolclass=NullPool, hide_parameters=True).connect() as connection:
        take_turn(connection)
        connection.exec_driver_sql(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_type=True,
            render_item=render,
            include_name=ours,
            # A step may leave its transaction, to create an index concurrently.
            transaction_per_migration=True,
        )
        try:
            with context.begin_transaction():
                context.run_migrations()
        except OperationalError as error:
            if isinstance(error.orig, LockNotAvailable):
                raise Unavailable(
                    "tables are in use by long transactions (pg_stat_activity); run it again"
                ) from error
            raise


def take_turn(connection: Connection) -> None:
    """Become the only migrator until the connection ends.

    It polls: a statement that waits for the lock holds a snapshot, and an index that the current
    migrator creates concurrently would wait for that snapshot.
    """
    while not connection.exec_driver_sql(
        f"SELECT pg_try_advisory_lock({locks.MIGRATION})"
    ).scalar():
        connection.rollback()
        time.sleep(TURN_SECONDS)


run()
