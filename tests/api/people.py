"""Users of the whole API, each with one of every resource, and the problems they are told."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.api.operations import BOOK, KEY, PHOTO

if TYPE_CHECKING:
    import httpx2

PASSWORD = "correct horse battery"
PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Person:
    """A user with a session."""

    id: int
    pair: dict[str, Any]
    email: str

    @property
    def token(self) -> str:
        """The access token."""
        return str(self.pair["access_token"])

    @property
    def headers(self) -> dict[str, str]:
        """Headers of their requests."""
        return {"Authorization": f"Bearer {self.token}"}


async def sign_up(client: httpx2.AsyncClient) -> Person:
    """A new user, signed in."""
    email = f"{uuid.uuid4()}@example.org"
    account = await client.post("/api/users", json={"email": email, "password": PASSWORD})
    pair = await client.post("/api/auth/token", data={"username": email, "password": PASSWORD})
    return Person(account.json()["id"], pair.json(), email)


async def things_of(client: httpx2.AsyncClient, owner: Person) -> dict[str, object]:
    """One of each of what people have, just made: the values of path parameters."""
    upload = {"file": ("a.jpg", PHOTO)}
    image = await client.post("/api/images", files=upload, headers=owner.headers)
    task = await client.post(
        "/api/tasks", files={"image": ("a.jpg", PHOTO)}, data={"meta": "m"}, headers=owner.headers
    )
    await client.post("/api/tasks/take", json={"lease_seconds": 36_000}, headers=owner.headers)
    queue = await client.post("/api/queues", json={"name": "q"}, headers=owner.headers)
    file = await client.post("/api/upload", files=upload, headers=owner.headers)
    book = await client.post("/api/books", json=BOOK, headers=owner.headers)
    form = {"username": owner.email, "password": PASSWORD}
    pair = (await client.post("/api/auth/token", data=form)).json()
    key = await client.post("/api/keys", json=KEY, headers=owner.headers)
    space = await client.post("/api/spaces", json={"name": "s"}, headers=owner.headers)
    invitation = await client.post(
        "/api/invitations",
        json={"space_id": space.json()["id"], "role": "viewer"},
        headers=owner.headers,
    )
    made = {
        "image_id": image,
        "task_id": task,
        "queue_id": queue,
        "file_id": file,
        "book_id": book,
        "key_id": key,
        "space_id": space,
        "invitation_id": invitation,
    }
    assert {answer.status_code for answer in made.values()} == {201}
    return {name: answer.json()["id"] for name, answer in made.items()} | {
        "user_id": owner.id,
        "session_id": uuid.UUID(pair["refresh_token"].partition(".")[0]),
        "name": "original",
    }


def is_problem(answer: httpx2.Response, *statuses: int) -> bool:
    """True if an answer is a problem of one of these statuses."""
    return (
        answer.status_code in statuses
        and answer.headers["content-type"] == PROBLEM
        and answer.json()["status"] == answer.status_code
        and answer.json()["type"].startswith("/problems/")
    )
