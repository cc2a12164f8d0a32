"""The operations that are measured: what each request is, and what a blend of them looks like."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import msgspec

from atelier.classify.http_client import Response
from benchmarks.capacity.arrivals import Operation
from benchmarks.capacity.follow import Follower, State
from benchmarks.capacity.session import Session
from benchmarks.capacity.stock import JSON, MULTIPART, Stock

Fire = Callable[[float], Awaitable[int]]

ABOUT = {
    "read": "`GET /api/images/{id}/info`: one record, the cache warm",
    "picture": "`GET /api/images/{id}/renditions/500x500`: a picture's bytes",
    "list": "`GET /api/images`: a page of 50 records",
    "upload": "`POST /api/images`: a picture with a description, followed until it is ready",
    "books-read": "`GET /api/books/{id}`: one book, the cache warm",
    "books-write": "`POST` and `DELETE` of a book in turn: a row and an event each",
    "take": "`POST /api/tasks/take` with a lease and its `release` in turn",
    "files": "`POST /api/upload/`: a picture as a file, followed until it is processed",
    "files-list": "`GET /api/files/`: a page of 50 records of files",
    "mix": "a blend of operations, as the table of shares says",
}

SHARES = {
    "read": 40,
    "picture": 30,
    "list": 10,
    "books-read": 8,
    "books-write": 4,
    "upload": 4,
    "take": 3,
    "files": 1,
}
"""Of `mix`, in percent: people look far more often than they bring something."""

UPLOADS_MOST = 5_000
"""Uploads of one run: each takes up to half a megabyte until the user is deleted."""

BOOKS_KEPT = 50
"""Books that stand between writing one and deleting it."""

LEASE = b'{"lease_seconds":600}'
OK, CREATED = 200, 201


class Made(msgspec.Struct):
    """Of the answer to a creation, and of an upload's record, what is needed here."""

    id: int = 0
    status: str = ""


class Lease(msgspec.Struct):
    """The proof that a task is held."""

    token: int


class Taken(msgspec.Struct):
    """Of a hand-out's answer, what giving it back needs."""

    id: int
    lease: Lease


_made = msgspec.json.Decoder(Made)
_taken = msgspec.json.Decoder(Taken)


def _state(body: bytes) -> State:
    status = _made.decode(body).status
    return (
        "ready"
        if status in ("ready", "processed")
        else "failed"
        if status == "failed"
        else "waiting"
    )


class Operations:
    """All operations of one user on one stock."""

    def __init__(self, session: Session, stock: Stock) -> None:
        self._session = session
        self._stock = stock
        self._spare: list[int] = []
        self._leases: list[Taken] = []
        self._shares = random.Random(0)
        images = Follower(session, "/api/images/{}/info".format, _state)
        files = Follower(session, "/api/files/{}/".format, _state)
        queued_images, queued_files = (
            "/api/images?status=queued&limit=1",
            "/api/files/?status=queued&limit=1",
        )
        self._fire: dict[str, Fire] = {
            "read": lambda _: self._get(f"/api/images/{stock.image()}/info"),
            "picture": lambda _: self._get(f"/api/images/{stock.image()}/renditions/500x500"),
            "list": lambda _: self._get("/api/images"),
            "upload": lambda moment: self._upload("/api/images", stock.image_form, moment, images),
            "books-read": lambda _: self._get(f"/api/books/{stock.any_book()}"),
            "books-write": self._write_book,
            "take": self._take,
            "files": lambda moment: self._upload("/api/upload/", stock.file_form, moment, files),
            "files-list": lambda _: self._get("/api/files/"),
            "mix": self._mix,
        }
        good = frozenset((200, 201, 204))
        self.by_name = {
            name: Operation(name, ABOUT[name], fire, good) for name, fire in self._fire.items()
        }
        for name, follower, pending, most in (
            ("upload", images, queued_images, UPLOADS_MOST),
            ("files", files, queued_files, UPLOADS_MOST),
            ("mix", images, queued_images, UPLOADS_MOST * 100 // SHARES["upload"]),
        ):
            operation = self.by_name[name]
            operation.follower, operation.pending, operation.most = follower, pending, most

    async def _get(self, target: str) -> int:
        return (await self._session.client.send(self._session.get(target))).status

    async def _post(self, target: str, media_type: str, body: bytes) -> Response:
        return await self._session.client.send(
            self._session.request("POST", target, media_type, body)
        )

    async def _upload(
        self, target: str, form: bytes, moment: float, follower: Follower | None
    ) -> int:
        answer = await self._post(target, MULTIPART, form)
        if answer.status == CREATED and follower:
            follower.add(_made.decode(answer.body).id, moment)
        return answer.status

    async def _write_book(self, _: float) -> int:
        if len(self._spare) >= BOOKS_KEPT and _heads():
            gone = self._session.request("DELETE", f"/api/books/{self._spare.pop()}")
            return (await self._session.client.send(gone)).status
        answer = await self._post("/api/books", JSON, self._stock.book)
        if answer.status == CREATED:
            self._spare.append(_made.decode(answer.body).id)
        return answer.status

    async def _take(self, _: float) -> int:
        if self._leases and _heads():
            task = self._leases.pop()
            return (
                await self._post(
                    f"/api/tasks/{task.id}/release", JSON, msgspec.json.encode(task.lease)
                )
            ).status
        answer = await self._post("/api/tasks/take", JSON, LEASE)
        if answer.status == OK:
            self._leases.append(_taken.decode(answer.body))
        return answer.status

    async def _mix(self, moment: float) -> int:
        (name,) = self._shares.choices(list(SHARES), list(SHARES.values()))
        if name == "files":  # one kind of upload is followed at a time
            return await self._upload("/api/upload/", self._stock.file_form, moment, None)
        return await self._fire[name](moment)


def _heads() -> bool:
    return random.random() < 0.5
