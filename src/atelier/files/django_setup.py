"""Sets Django up from Atelier's settings, and holds the adapters that views and jobs use.

Django is one per process, and so is this. Call `configure(settings)` once before Django is used;
otherwise the settings come from the environment.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from atelier import bootstrap
from atelier.auth import Authenticator, Tokens
from atelier.blobs import Blobs
from atelier.errors import Unavailable
from atelier.files import SETTINGS_MODULE
from atelier.files.sync_bridge import SyncBridge, at_once
from atelier.settings import Settings, load

CONNECT_SECONDS = 5
STATEMENT_TIMEOUT_MS = 15_000  # no request or job may hold a connection longer
ENGINE = "django.db.backends.postgresql"
_CONNECTION = {
    "host": "HOST",
    "port": "PORT",
    "user": "USER",
    "password": "PASSWORD",
    "dbname": "NAME",
}


class Context:
    """The adapters of this process: settings, blobs, the sync bridge."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.blobs: Blobs = bootstrap.open_blobs(settings)
        # A folder's work is done in the thread that asks for it, a bucket's needs an event loop
        self.run = at_once if isinstance(settings.store, Path) else SyncBridge().run

    def reopen(self) -> None:
        """Replace the store's client after a fork: its threads exist only in the parent."""
        self.blobs = bootstrap.open_blobs(self.settings)

    @cached_property
    def authenticator(self) -> Authenticator:
        """For processes whose requests nothing has authenticated before."""
        from atelier.files.sessions import Credentials

        tokens = Tokens(
            bootstrap.secret(self.settings), access_seconds=self.settings.access_token_seconds
        )
        return Authenticator(tokens, Credentials(self.settings.refresh_token_days))


_given: list[Context] = []


def configure(settings: Settings) -> Context:
    """Set Django up on these settings.

    A second call with other settings affects threads that start after it.
    """
    import django

    made = Context(settings)
    _given[:] = [made]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS_MODULE)
    django.setup()
    setup()
    return made


def context() -> Context:
    """The context of this process."""
    if not _given:
        _given.append(Context(load()))
    return _given[0]


def setup() -> None:
    """Point Django at the instance's database, and Celery at its broker.

    A missing URL is an error only when it is needed: `django-admin makemigrations` needs neither.
    """
    from atelier.files import celery_app

    logging.getLogger("django.request").setLevel(
        logging.ERROR
    )  # 4xx responses are in the access log
    settings = context().settings
    with suppress(Unavailable):
        use_database(bootstrap.database_url(settings))
    with suppress(Unavailable):
        celery_app.configure(settings)


def use_database(url: str) -> None:
    """Connect this thread, and those without a connection, to the database at `url`."""
    from django.db import connections

    connections.settings["default"] = connections.configure_settings({"default": database(url)})[
        "default"
    ]
    disconnect()


def disconnect() -> None:
    """Close this thread's connection."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        connection.close()
        del connections[connection.alias]


def database(url: str) -> dict[str, Any]:
    """Django's description of a libpq URL, including sockets (`?host=/folder`) and options."""
    options: dict[str, Any] = dict(conninfo_to_dict(url))
    named = {
        ours: str(options.pop(theirs)) for theirs, ours in _CONNECTION.items() if theirs in options
    }
    options.setdefault("connect_timeout", CONNECT_SECONDS)
    options.setdefault("application_name", "atelier files")
    options["options"] = (
        f"{options.get('options', '')} -c statement_timeout={STATEMENT_TIMEOUT_MS}".strip()
    )
    fixed = {
        "ENGINE": ENGINE,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }
    return fixed | named
