"""Clients that upload, change and delete things of one collection."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.ledger import Thing

if TYPE_CHECKING:
    from tests.chaos.load.client import Client

PHOTOS = Path(__file__).parents[2] / "photos"
LARGE_SHARE = 0.1  # of the pictures travel by their blob's key, not in their job
LARGE_BYTES = 1_200_000
CHANGE_SHARE, DELETE_SHARE = 0.2, 0.1  # of what a writer does; the rest are uploads
REST_SECONDS = 0.02, 0.3  # between two of its requests
TEXTS: dict[str, tuple[str, Callable[[str], str]]] = {
    "csv": ("text/csv", lambda name: f"name\n{name}\n"),
    "json": ("application/json", lambda name: f'{{"name": "{name}"}}'),
    "txt": ("text/plain", lambda name: f"{name}\n" * 20),
}


@dataclass(frozen=True, slots=True)
class Upload:
    """A request that makes a thing, and the digest of the bytes in it."""

    request: dict[str, Any]
    sha256: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Collection:
    """How things of one kind are made, changed (where they can be) and deleted."""

    name: str
    path: str
    item: str
    make: Callable[[str, random.Random], Upload]
    words: str | None = None
    """The field that a change writes."""
    deletes: bool = True


def _image(name: str, dice: random.Random) -> Upload:
    content = _picture(name, large=dice.random() < LARGE_SHARE)
    form = {"title": name, "description": f"Кадр {name}", "tags": "chaos"}
    files = {"file": (f"{name}.jpg", content, "image/jpeg")}
    return Upload({"data": form, "files": files}, _digest(content), form["description"])


def _file(name: str, dice: random.Random) -> Upload:
    ending = dice.choice(["csv", "json", "txt", "jpg"])
    if ending == "jpg":
        content, media_type = _picture(name), "image/jpeg"
    else:
        media_type, text = TEXTS[ending]
        content = text(name).encode()
    files = {"file": (f"{name}.{ending}", content, media_type)}
    return Upload({"files": files}, _digest(content))


def _task(name: str, dice: random.Random) -> Upload:
    content = _picture(name)
    files = {"image": (f"{name}.jpg", content, "image/jpeg")}
    return Upload({"data": {"meta": name}, "files": files}, _digest(content))


def _book(name: str, dice: random.Random) -> Upload:
    book = {"title": name, "author": f"author of {name}", "publication_date": "1869-01-01"}
    return Upload({"json": book}, words=book["author"])


IMAGES = Collection("images", "/api/images", "/api/images/{}", _image, "description")
FILES = Collection("files", "/api/upload/", "/api/files/{}/", _file)
TASKS = Collection("tasks", "/api/tasks", "/api/tasks/{}", _task, deletes=False)
BOOKS = Collection("books", "/api/books", "/api/books/{}", _book, "author")


class Writer:
    """One client that writes to one collection and remembers what it made."""

    def __init__(self, name: str, collection: Collection, client: Client, seed: str) -> None:
        self.name = name
        self._collection = collection
        self._client = client
        self._dice = random.Random(f"{seed} {name}")
        self._made: list[Thing] = []
        self._number = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Write until `stop`, and finish what was begun. Raises StuckError."""
        while not stop.is_set():
            await self._next()
            await asyncio.sleep(self._dice.uniform(*REST_SECONDS))

    async def _next(self) -> None:
        chance = self._dice.random() if self._made else 1.0
        if chance < DELETE_SHARE and self._collection.deletes:
            await self._delete(self._made.pop(self._dice.randrange(len(self._made))))
        elif chance < DELETE_SHARE + CHANGE_SHARE and self._collection.words:
            await self._change(self._dice.choice(self._made), self._collection.words)
        else:
            await self._upload()

    async def _upload(self) -> None:
        self._number += 1
        name, kind = f"{self.name}-{self._number}", self._collection
        upload = kind.make(name, self._dice)
        answer = await self._client.keyed(
            f"upload to {kind.name}", kind.path, {201}, **upload.request
        )
        thing = Thing(kind.name, answer.json()["id"], name, upload.sha256, upload.words)
        self._client.ledger.made(thing)
        self._made.append(thing)

    async def _change(self, thing: Thing, field: str) -> None:
        self._number += 1
        words, kind = f"changed {self._number}", self._collection
        path = kind.item.format(thing.id)
        await self._client.ask(f"change {kind.name}", "PATCH", path, {200}, json={field: words})
        self._client.ledger.changed(thing, words)

    async def _delete(self, thing: Thing) -> None:
        kind = self._collection
        path = kind.item.format(thing.id)
        await self._client.ask(f"delete {kind.name}", "DELETE", path, {204}, good_again={404})
        self._client.ledger.deleted(thing)


def _picture(name: str, *, large: bool = False) -> bytes:
    """A photograph whose bytes are those of no other upload."""
    return _photo() + name.encode() + bytes(LARGE_BYTES if large else 0)


@cache
def _photo() -> bytes:
    return (PHOTOS / "waterfall_640x480.jpg").read_bytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
