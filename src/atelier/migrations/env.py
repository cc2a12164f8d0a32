"""Alembic's environment: the URL comes from the caller, the tables from the slices' models."""

from __future__ import annotations

from typing import Literal

from alembic import context
from sqlalchemy import create_engine, make_url

from atelier.database import MIGRATION_LOCK, Base, UtcDateTime
from atelier.migrations import tables  # noqa: F401 - fills Base.metadata

config = context.config
DJANGO = {"files", "django_migrations"}


def render(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write our own column types as what they are in the database: a migration must outlive the class."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """Whether a thing of the database concerns Alembic: Django's two tables have their own migrations."""
    return not (kind == "table" and name in DJANGO)


def run() -> None:
    """Migrate online, one transaction for all steps, one migrator at a time."""
    engine = create_engine(make_url(config.attributes["url"]).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_type=True,
            render_item=render,
            include_name=ours,
        )
        with context.begin_transaction():
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            context.run_migrations()
    engine.dispose()


run()
