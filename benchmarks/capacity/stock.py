"""Pictures, books and tasks that operations work on, made before and removed after a run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import msgspec

from benchmarks.capacity.session import GONE, Session, Unwilling

IMAGES, FILES = 60, 60
"""More than a page of a list holds."""

BOOKS = 100
TASKS = 300
"""More than there are requests at once, so that a hand-out always finds one."""

AT_ONCE = 8
"""Requests at once while preparing and cleaning up."""

READY_SECONDS = 120.0
"""Time that the prepared pictures, or files, may take to become ready."""

DESCRIPTION = "С начала фазы запрещающего сигнала прошло: 7 секунд"
BOUNDARY = "capacity-5f0c1d7b"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
JSON = "application/json"
PAGE = 500


def form(picture: bytes, **fields: str) -> bytes:
    """A multipart body with the picture in `file`."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="capacity.jpg"\r\n'
    )
    return b"".join(
        (
            "".join(parts).encode(),
            f"{head}Content-Type: image/jpeg\r\n\r\n".encode(),
            picture,
            _END.encode(),
        )
    )


_END = f"\r\n--{BOUNDARY}--\r\n"


class Stock:
    """Ids of what was made."""

    def __init__(self, session: Session, picture: bytes) -> None:
        self._session = session
        self.image_form = form(picture, description=DESCRIPTION)
        self.file_form = form(picture)
        self._task = form(picture, meta="capacity").replace(b'name="file"', b'name="image"')
        book = {"title": session.name, "author": "Nobody", "publication_date": "2026-01-01"}
        self.book = msgspec.json.encode(book)
        self.images: list[int] = []
        self.books: list[int] = []

    async def prepare(self, names: set[str]) -> None:
        """Make what these operations need."""
        blend = "mix" in names
        if blend or names & {"read", "picture", "list"}:
            await self._prepare_images()
        if "files-list" in names:
            await self._many(
                FILES, lambda: self._create("/api/upload/", MULTIPART, self.file_form)
            )
            await self.settled("/api/files/?status=queued&limit=1", READY_SECONDS)
            await self._counted(
                "/api/files/?status=processed&limit=500", FILES, "files", "files worker"
            )
        if blend or "books-read" in names:
            self.books = await self._many(
                BOOKS, lambda: self._create("/api/books", JSON, self.book)
            )
        if blend or "take" in names:
            await self._many(TASKS, lambda: self._create("/api/tasks", MULTIPART, self._task))

    async def clean(self) -> int:
        """Remove what does not go with the user, the catalogue's books; how many there were."""
        removed = 0
        query = urlencode({"title": self._session.name, "limit": PAGE})
        while found := msgspec.json.decode(
            (await self._session.insist("GET", f"/api/books?{query}")).body
        ):
            ids = iter([int(book["id"]) for book in found])

            async def one(ids: Any = ids) -> None:
                for book in ids:
                    await self._session.insist("DELETE", f"/api/books/{book}", good=(204, *GONE))

            await asyncio.gather(*(one() for _ in range(AT_ONCE)))
            removed += len(found)
        return removed

    async def settled(self, target: str, seconds: float) -> None:
        """Wait until the list there is empty, so long at most."""
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            if (await self._session.insist("GET", target)).body == b"[]":
                return
            await asyncio.sleep(0.1)

    def image(self) -> int:
        """Any of the prepared pictures."""
        return random.choice(self.images)

    def any_book(self) -> int:
        """Any of the prepared books."""
        return random.choice(self.books)

    async def _prepare_images(self) -> None:
        self.images = await self._many(
            IMAGES, lambda: self._create("/api/images", MULTIPART, self.image_form)
        )
        await self.settled("/api/images?status=queued&limit=1", READY_SECONDS)
        await self._counted(
            "/api/images?status=ready&limit=500", IMAGES, "pictures", "image processor"
        )

    async def _counted(self, target: str, wanted: int, what: str, role: str) -> None:
        """Look whether all that was uploaded is ready. Raises Unwilling."""
        ready = msgspec.json.decode((await self._session.insist("GET", target)).body)
        if len(ready) < wanted:
            raise Unwilling(
                f"of {wanted} {what} {len(ready)} were ready after {READY_SECONDS:.0f} s: does "
                "the "
                f"{role} run, and has it nothing else to do (`atelier jobs`)?"
            )

    async def _create(self, target: str, media_type: str, body: bytes) -> int:
        answer = await self._session.insist("POST", target, media_type, body, good=(201,))
        return int(msgspec.json.decode(answer.body)["id"])

    async def _many(self, count: int, make: Callable[[], Awaitable[int]]) -> list[int]:
        made: list[int] = []
        left = iter(range(count))

        async def loop() -> None:
            for _ in left:
                made.append(await make())  # noqa: PERF401 - the loops share the list

        await asyncio.gather(*(loop() for _ in range(AT_ONCE)))
        return made
