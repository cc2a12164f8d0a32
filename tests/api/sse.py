"""A client of `GET /api/events`: reads blocks as an EventSource does."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from atelier.events import relay
from tests.waiting import PATIENCE_SECONDS, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from atelier.database import Database

STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two empty lines."""

    id: int | None
    event: str
    data: Any
    comment: bool


class Stream:
    """An open stream."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.last_id: int | None = None
        self._lines = answer.aiter_lines()

    async def block(self) -> Block:
        """The next block. Raises StopAsyncIteration at the end."""
        fields: dict[str, str] = {}
        comment = False
        async with patience():
            while line := await anext(self._lines):
                name, _, value = line.partition(":")
                comment = comment or not name
                fields[name] = value.removeprefix(" ")
        number = int(fields["id"]) if "id" in fields else None
        self.last_id = self.last_id if number is None else number
        data = orjson.loads(fields["data"]) if "data" in fields else None
        return Block(number, fields.get("event", "message"), data, comment)

    async def event(self) -> Block:
        """The next block with data."""
        while not (found := await self.block()).data:
            pass
        return found

    async def events(self, count: int) -> list[str]:
        """The subjects and types of the next so many."""
        found = [(await self.event()).data for _ in range(count)]
        return [f"{one['subject']} {one['type']}" for one in found]

    async def rest(self) -> list[Block]:
        """All until the stream ends."""
        found = []
        try:
            while True:
                found.append(await self.block())
        except StopAsyncIteration:
            return found


@asynccontextmanager
async def streaming(
    client: httpx2.AsyncClient,
    headers: dict[str, str],
    last_id: int | None = None,
    **query: str | int,
) -> AsyncIterator[Stream]:
    """An open stream, whose first block was read."""
    if last_id is not None:
        headers = headers | {"Last-Event-ID": str(last_id)}
    async with client.stream(
        "GET", "/api/events", headers=headers, params=query, timeout=PATIENCE_SECONDS
    ) as answer:
        assert answer.status_code == 200, await answer.aread()
        stream = Stream(answer)
        opened = await stream.block()
        assert (opened.data, opened.comment, opened.id is not None) == (None, False, True)
        yield stream


async def send(database: Database) -> int:
    """Do what the relay does with what was announced; the log's last position."""
    await database.fetch(relay.START)
    while rows := await database.fetch(relay.UNSENT, []):
        await database.fetch(relay.STAMP, [row["id"] for row in rows])
    [row] = await database.fetch("SELECT position FROM relay_position")
    return int(row["position"])
