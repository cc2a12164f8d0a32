"""Runs hand-written statements: alone, or in the transaction of a caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

Row = Mapping[str, Any]
Fetch = Callable[..., Awaitable[Row | None]]  # the first row of a statement with $1, $2 ...


def inside(session: AsyncSession) -> Fetch:
    """A `Fetch` in the transaction of `session`."""

    async def fetch(statement: str, *values: object) -> Row | None:
        result = (
            (await (await session.connection()).exec_driver_sql(statement, values))
            .mappings()
            .first()
        )
        return None if result is None else dict(result)

    return fetch
