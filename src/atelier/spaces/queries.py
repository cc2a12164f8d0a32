"""Reads of spaces and members, each one statement by indexes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atelier.auth import Principal, Role
from atelier.database import Database
from atelier.errors import NotFound
from atelier.spaces.errors import NO_MEMBER, NO_SPACE

_SHOWN = "id, name, user_id IS NOT NULL AS personal, sequence, created_at"
_FIND = f"SELECT {_SHOWN} FROM spaces WHERE id = $1"
# The page first: only its spaces are counted.
_PAGE = f"""
    WITH page AS MATERIALIZED (
        SELECT {_SHOWN} FROM spaces
        WHERE id = any($1::bigint[]) AND ($2::bigint IS NULL OR id < $2)
        ORDER BY id DESC LIMIT $3
    )
    SELECT page.*, images.count AS pictures, files.count AS files,
        tasks.free, tasks.taken, tasks.done,
        (images.bytes + tasks.bytes + files.bytes)::bigint AS bytes
    FROM page
    CROSS JOIN LATERAL (
        SELECT count(*), coalesce(sum(size), 0) AS bytes FROM images WHERE owner_id = page.id
    ) AS images
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE free) AS free,
            count(*) FILTER (WHERE NOT free AND completed_at IS NULL) AS taken,
            count(*) FILTER (WHERE completed_at IS NOT NULL) AS done,
            coalesce(sum(size), 0) AS bytes
        FROM tasks WHERE owner_id = page.id
    ) AS tasks
    CROSS JOIN LATERAL (
        SELECT count(*), coalesce(sum(size), 0) AS bytes FROM files WHERE owner_id = page.id
    ) AS files
    ORDER BY page.id DESC
"""
# A team's members; of a person's own space that person, since when it is.
_MEMBERS = """
    SELECT u.id AS user_id, u.email, u.name, all_.role, all_.created_at AS since
    FROM (
        SELECT user_id, role, created_at FROM members WHERE space_id = $1
        UNION ALL
        SELECT user_id, 'owner', created_at FROM spaces WHERE id = $1 AND user_id IS NOT NULL
    ) AS all_ JOIN users AS u ON u.id = all_.user_id
"""
_MEMBERS_PAGE = f"""
    {_MEMBERS} WHERE ($2::bigint IS NULL OR u.id < $2) ORDER BY u.id DESC LIMIT $3
"""
_MEMBER = f"{_MEMBERS} WHERE u.id = $2"


def role_in(principal: Principal, space_id: int) -> Role:
    """The role of `principal` in a space. Raises NotFound for a stranger."""
    role = principal.roles.get(space_id)
    if role is None:
        raise NotFound(NO_SPACE)
    return role


async def find(database: Database, principal: Principal, space_id: int) -> dict[str, Any]:
    """A space of one's own or of a team that one is in. Raises NotFound."""
    role = role_in(principal, space_id)
    row = await database.fetchrow(_FIND, space_id)
    if row is None:
        raise NotFound(NO_SPACE)
    return dict(row) | {"role": role}


async def page(
    database: Database, principal: Principal, *, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """The spaces that `principal` may enter, newest first, with what is in them."""
    rows = await database.fetch(_PAGE, list(principal.roles), before, limit)
    return [dict(row) | {"role": principal.roles[row["id"]]} for row in rows]


async def members(
    database: Database, principal: Principal, space_id: int, *, before: int | None, limit: int
) -> Sequence[dict[str, Any]]:
    """The members of a space, those with the newest accounts first. Raises NotFound."""
    role_in(principal, space_id)
    rows = await database.fetch(_MEMBERS_PAGE, space_id, before, limit)
    return [dict(row) for row in rows]


async def member(database: Database, space_id: int, user_id: int) -> dict[str, Any]:
    """One member of a space. Raises NotFound."""
    row = await database.fetchrow(_MEMBER, space_id, user_id)
    if row is None:
        raise NotFound(NO_MEMBER)
    return dict(row)
