"""Every operation of the OpenAPI document, with a request that it would take.

A new operation belongs in `RULES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from atelier.http.openapi import operations

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

PHOTO = (Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg").read_bytes()
WORDS = {"title": "t", "description": "d", "tags": ["a"]}
BOOK = {"title": "t", "author": "a", "publication_date": "1869-01-01"}
HOLDING = {"token": 1}
KEY = {"name": "scanner", "rights": ["images:read"]}
PASSWORDS = {"current": "not the present one", "new": "correct horse battery"}

# What somebody else's token gets: `hidden`, a 404 as if the object did not exist; `own`, the
# operation works on what is the caller's; `shared`, everybody may; `forbidden`, a 403.
Rule = Literal["hidden", "own", "shared", "forbidden"]
# Operations whose body names things, and the path parameter that elsewhere does.
MOVES = {"tasks.move": "task_id", "files.move": "file_id"}
BATCHES = {"images.change_many": "image_id"}
RULES: dict[str, tuple[Rule, dict[str, Any]]] = {
    "images.index": ("own", {}),
    "images.upload": ("own", {"files": {"file": ("a.jpg", PHOTO)}}),
    "images.info": ("hidden", {}),
    "images.picture": ("hidden", {}),
    "images.rendition": ("hidden", {}),
    "images.change": ("hidden", {"json": WORDS}),
    "images.replace": ("hidden", {"json": WORDS}),
    "images.retry": ("hidden", {}),
    "images.delete": ("hidden", {}),
    "images.tags": ("own", {}),
    "images.count": ("own", {}),
    "images.columns": ("own", {}),
    "images.export_images": ("own", {}),
    "images.change_many": ("hidden", {"json": {"ids": [2**40], "action": "tag", "tags": ["a"]}}),
    "images.move": ("own", {"json": {"ids": [2**40], "space_id": 2**40}}),
    "tasks.index": ("own", {}),
    "tasks.create": ("own", {"files": {"image": ("a.jpg", PHOTO)}, "data": {"meta": "m"}}),
    "tasks.read": ("hidden", {}),
    "tasks.image": ("hidden", {}),
    "tasks.view": ("hidden", {}),
    "tasks.delete": ("hidden", {}),
    "tasks.take": ("own", {"json": {"lease_seconds": 36_000}}),
    "tasks.take_free_task": ("own", {}),
    "tasks.total_created": ("shared", {}),
    "tasks.renew": ("hidden", {"json": HOLDING | {"lease_seconds": 36_000}}),
    "tasks.release": ("hidden", {"json": HOLDING}),
    "tasks.complete": ("hidden", {"json": HOLDING}),
    "tasks.skip": ("hidden", {"json": HOLDING | {"for_seconds": 9}}),
    "tasks.correct": ("hidden", {"json": {"result": "red"}}),
    "tasks.move": ("hidden", {}),
    "tasks.export": ("own", {}),
    "queues.index": ("own", {}),
    "queues.create": ("own", {"json": {"name": "q"}}),
    "queues.read": ("hidden", {}),
    "queues.change": ("hidden", {"json": {"name": "r"}}),
    "queues.fill": ("hidden", {"json": {"tag": "none has this"}}),
    "queues.progress": ("hidden", {}),
    "queues.delete": ("hidden", {}),
    "books.index": ("shared", {}),
    "books.create": ("shared", {"json": BOOK}),
    "books.read": ("shared", {}),
    "books.change": ("shared", {"json": {"title": "u"}}),
    "books.replace": ("shared", {"json": BOOK}),
    "books.delete": ("shared", {}),
    "files.index": ("own", {}),
    "files.upload": ("own", {"files": {"file": ("a.jpg", PHOTO)}}),
    "files.detail": ("hidden", {}),
    "files.delete": ("hidden", {}),
    "files.content": ("hidden", {}),
    "files.retry": ("hidden", {}),
    "files.thumbnail": ("hidden", {}),
    "files.move": ("hidden", {}),
    "accounts.me": ("own", {}),
    "accounts.change": ("own", {"json": {"name": "n"}}),
    "accounts.change_password": ("own", {"json": PASSWORDS}),
    "accounts.session_index": ("own", {}),
    "accounts.end_session": ("hidden", {}),
    "accounts.logout": ("own", {}),
    "accounts.delete": ("forbidden", {}),
    "accounts.sign_out": ("own", {}),
    "invitations.index": ("own", {}),
    "invitations.create": ("hidden", {"json": {"space_id": 1, "role": "editor"}}),
    "invitations.delete": ("hidden", {}),
    "spaces.index": ("own", {}),
    "spaces.create": ("own", {"json": {"name": "n"}}),
    "spaces.read": ("hidden", {}),
    "spaces.change": ("hidden", {"json": {"name": "m"}}),
    "spaces.member_index": ("hidden", {}),
    "spaces.change_member": ("hidden", {"json": {"role": "owner"}}),
    "spaces.remove_member": ("hidden", {}),
    "spaces.delete": ("hidden", {}),
    "keys.index": ("own", {}),
    "keys.create": ("own", {"json": KEY}),
    "keys.read": ("hidden", {}),
    "keys.delete": ("hidden", {}),
    "trash.index": ("own", {}),
    "trash.restore": ("own", {"json": {"subjects": [f"images/{2**40}"]}}),
    "trash.purge": ("own", {"json": {"subjects": [f"images/{2**40}"]}}),
    "trash.empty": ("own", {}),
    "events.index": ("own", {}),
}
# Without it the answer would be a stream, which has no end.
AS_JSON = {"events.index": {"Accept": "application/json"}}
SIGNING_OUT = {"accounts.logout", "accounts.sign_out"}  # ends the session of the request
PUBLIC = {
    "accounts.register", "accounts.token", "accounts.refresh", "accounts.reset",
    "accounts.sign_in", "invitations.accept", "health.alive", "health.ready", "health.metrics",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `id` is its id without the suffix of its deprecated twin at the root."""

    id: str
    method: str
    path: str
    secured: bool
    right: str | None = None  # that an API key needs; None: no key may, or everybody may

    @property
    def rule(self) -> Rule:
        """The status for another user."""
        return RULES[self.id][0]

    async def send(
        self, client: httpx2.AsyncClient, values: Mapping[str, object], headers: Mapping[str, str]
    ) -> httpx2.Response:
        """Send a request that is well-formed.

        `values` are those of path parameters, and an unknown one is missed. A space that is named
        in the body is theirs too.
        """
        body = RULES[self.id][1]
        if name := MOVES.get(self.id):
            body = {"json": {"ids": [int(str(values[name]))], "space_id": values["user_id"]}}
        elif name := BATCHES.get(self.id):
            body = {"json": body["json"] | {"ids": [int(str(values[name]))]}}
        elif "space_id" in body.get("json", ()) and "space_id" in values:
            body = {"json": body["json"] | {"space_id": values["space_id"]}}
        path = self.path.format_map(dict(values))
        asked = dict(headers) | AS_JSON.get(self.id, {})
        return await client.request(self.method.upper(), path, headers=asked, **body)


def every(document: dict[str, Any]) -> list[Operation]:
    """The operations of the document."""
    found = []
    for name, described in operations(document):
        method, _, path = name.partition(" ")
        id_ = ".".join(described["operationId"].split(".")[:2])
        found.append(
            Operation(id_, method, path, bool(described["security"]), described.get("x-right"))
        )
    return found


def secured(document: dict[str, Any]) -> list[Operation]:
    """Those that need a token."""
    return [operation for operation in every(document) if operation.secured]
