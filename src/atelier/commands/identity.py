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


async def database_role(url: str) -> tuple[str, Powers]:
    """Return the name of the role of a URL, and what it may do.

    By asyncpg, which every image that has a database has.
    """
    import asyncpg

    async with asyncio.timeout(CONNECT_SECONDS):
        connection = await asyncpg.connect(url)
        try:
            found = await connection.fetchrow(_ROLE)
        finally:
            await connection.close()
    powers = Powers.TABLES if found["owner"] else Powers.ROWS
    return found["name"], Powers.ALL if found["super"] else powers


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
