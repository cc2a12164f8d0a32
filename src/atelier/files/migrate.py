"""Brings Django's table to its newest form; Alembic's come first, for `files` refers to `users`."""

from __future__ import annotations

import os

from atelier.files import house

LOCK = 7241002  # one migrator at a time


def migrate(url: str, step: str | None = None) -> None:
    """Apply every migration of Django's that the database at `url` lacks, or those up to `step`."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", house.MODULE)
    import django  # noqa: PLC0415 - other commands need no Django

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415 - as above
    from django.db import connections  # noqa: PLC0415 - as above

    before = connections.settings["default"]
    house.use_database(url)
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        call_command("migrate", *(("files", step) if step else ()), interactive=False, verbosity=0)
    finally:
        house.disconnect()
        connections.settings["default"] = before
