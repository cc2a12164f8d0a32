"""The database of a command that may run beside an instance or while it is stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from atelier import bootstrap
from atelier.settings import Settings
from atelier.up.engines.process import lock_owner
from atelier.up.preflight import LOCK, take_folder
from atelier.up.servers import launches


class Urls(NamedTuple):
    """One database as the role that owns its tables, and as the one that uses them."""

    owner_url: str
    client_url: str


@contextmanager
def reachable_database(settings: Settings) -> Iterator[str]:
    """Yield the database's URL for reading and writing rows.

    The embedded one runs meanwhile when its instance is stopped.

    Raises Unavailable where there is no embedded one either.
    """
    stopped = settings.database_url is None and lock_owner(settings.data / LOCK) is None
    if stopped and (settings.data / "postgres").exists():
        with idle_database(settings) as database:
            yield database.client_url
    else:
        yield bootstrap.database_url(settings)


@contextmanager
def idle_database(settings: Settings) -> Iterator[Urls]:
    """Yield the database's URLs; the embedded one runs meanwhile, made when it is new.

    Raises FolderInUse when an instance runs on the embedded one.
    """
    if settings.database_url is not None:
        yield Urls(bootstrap.migration_url(settings), settings.database_url.get_secret_value())
        return
    lock = take_folder(settings.data.absolute())
    try:
        engine = launches(settings)["database_url"]()
        try:
            engine.wait_ready()
            yield Urls(engine.url, engine.client_url)
        finally:
            engine.stop()
    finally:
        os.close(lock)
