"""As whom things run: the user of this process, and the database role of a URL."""

from __future__ import annotations

import asyncio
import enum
import os
import pwd

from atelier.settings import Settings
from atelier.up.unprivileged import ROOT

CONNECT_SECONDS = 5
_ROLE = """
    SELECT current_user AS name,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS super,
           (SELECT pg_get_userbyid(relowner) = current_user FROM pg_class
            WHERE oid = to_regclass('users')) AS owner
"""


class Powers(enum.Enum):
    """What a database role may do, in the words of `atelier doctor`."""

    ALL = ", a superuser: `atelier provision` makes two roles that are none"
    TABLES = ", which owns the tables"
    ROWS = ""


def database_role(url: str) -> tuple[str, Powers]:
    """Return the name of the role of a URL, and what it may do.

    By the driver that the image has.
    """
    try:
        import psycopg
    except ImportError:
        name, is_super, owns = asyncio.run(_by_asyncpg(url))
    else:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
            name, is_super, owns = connection.execute(_ROLE).fetchall()[0]
    powers = Powers.TABLES if owns else Powers.ROWS
    return name, Powers.ALL if is_super else powers


async def _by_asyncpg(url: str) -> tuple[str, bool, bool]:
    import asyncpg

    connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
    try:
        name, is_super, owns = await connection.fetchrow(_ROLE)
    finally:
        await connection.close()
    return name, is_super, owns


def process_user(settings: Settings) -> tuple[str, bool]:
    """Return the user of this process, in words, and whether it should not be another."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = "a user without a name"
    if uid != 0:
        return f"{name} ({uid})", True
    if settings.user == ROOT or settings.role is not None:
        return "root, who may read and write everything", False
    return "root; `atelier up` goes on as another user", True
