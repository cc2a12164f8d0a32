"""Bodies are judged before they are read: no operation reads one of somebody without a token."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from atelier.http.bodies import OPEN_LIMIT
from atelier.http.openapi import METHODS
from atelier.wire.complaints import COMPLAINTS
from atelier.wire.strict_json import LIMIT_BYTES
from tests.api.operations import every
from tests.waiting import patience

if TYPE_CHECKING:
    import httpx2

    from tests.api.people import Person

LARGE = 49 * 1024 * 1024  # bytes, below the limit of any body
KINDS = ("application/json", "multipart/form-data; boundary=b", "application/octet-stream")
LENGTH, CHUNKED = f"Content-Length: {LARGE}", "Transfer-Encoding: chunked"


async def head_of_answer(port: int, method: str, path: str, kind: str, framing: str) -> bytes:
    """The head of the answer to a request of which the head alone was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = (
        f"{method.upper()} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"{framing}\r\nExpect: 100-continue\r\n\r\n"
    )
    writer.write(request.encode())
    async with patience():
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head


def paths_of(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Method and path of every operation that needs a token, each with and without a slash."""
    values = defaultdict(lambda: "1", name="original")
    found = []
    for operation in every(document):
        if operation.secured:
            path = operation.path.format_map(values).rstrip("/")
            found += [(operation.method, path), (operation.method, f"{path}/")]
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("framing", [LENGTH, CHUNKED])
async def test_without_a_token_no_body_is_read(
    port: int, document: dict[str, Any], kind: str, framing: str
) -> None:
    """Each operation answers 401 before the body of 49 MiB has begun, and does not ask for it."""
    for method, path in paths_of(document):
        head = await head_of_answer(port, method, path, kind, framing)
        assert head.startswith(b"HTTP/1.1 401 "), (method, path, head)


async def test_a_forged_token_reads_no_body_either(port: int, document: dict[str, Any]) -> None:
    """A token that is not ours is judged before the body, too."""
    framing = f"{LENGTH}\r\nAuthorization: Bearer forged"
    for method, path in paths_of(document):
        head = await head_of_answer(port, method, path, KINDS[0], framing)
        assert head.startswith(b"HTTP/1.1 401 "), (method, path, head)


async def test_open_operations_take_small_bodies_only(port: int, document: dict[str, Any]) -> None:
    """Where no token is needed a body above 8 KiB is refused unread."""
    open_ = [each for each in every(document) if not each.secured and each.method != "get"]
    assert {each.path for each in open_} >= {"/api/users", "/api/auth/token", "/api/auth/refresh"}
    for each in open_:
        form = "application/x-www-form-urlencoded" if "token" in each.path else KINDS[0]
        framing = f"Content-Length: {OPEN_LIMIT + 1}"
        head = await head_of_answer(port, each.method, each.path, form, framing)
        assert head.startswith(b"HTTP/1.1 413 "), (each, head)


async def test_unknown_methods_and_paths_read_no_body(port: int) -> None:
    """404 and 405 come without a look at the body, whatever the method."""
    for method in sorted(METHODS - {"trace"}):
        for path in ("/api/nothing", "/healthz", "/api/books"):
            if (method, path) in {("get", "/api/books"), ("post", "/api/books")}:
                continue
            head = await head_of_answer(port, method, path, KINDS[0], LENGTH)
            assert b" 100 " not in head.partition(b"\r\n")[0], (method, path)


async def test_json_is_at_most_256_kib(client: httpx2.AsyncClient, ada: Person) -> None:
    """A body of 256 KiB is read and one byte more is not, with and without a declared length."""

    async def pieces(body: bytes) -> Any:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    headers = ada.headers | {"Content-Type": "application/json"}
    for size, status in ((LIMIT_BYTES, 422), (LIMIT_BYTES + 1, 413)):
        body = b"[" + b" " * (size - 2) + b"]"
        for content in (body, pieces(body)):
            answer = await client.post("/api/books", content=content, headers=headers)
            assert answer.status_code == status, (size, answer.text)


async def test_a_picture_in_base64_has_the_limit_of_uploads(
    client: httpx2.AsyncClient, ada: Person
) -> None:
    """The JSON of a task is read as it comes and may be larger than other JSON."""
    body = b'{"meta":"m","image":"' + b"AAAA" * (LIMIT_BYTES // 3) + b'"}'
    headers = ada.headers | {"Content-Type": "application/json"}
    answer = await client.post("/api/tasks", content=body, headers=headers)
    assert answer.status_code == 415  # it is no picture, which is known only after it was read


async def test_at_most_twenty_complaints(client: httpx2.AsyncClient, ada: Person) -> None:
    """The first twenty are listed, and the detail says that there are more."""
    body = {f"field{number}": 1 for number in range(60)}
    query = "&".join(f"field{number}=1" for number in range(60))
    answers = [
        await client.post("/api/books", json=body, headers=ada.headers),
        await client.get(f"/api/books?{query}", headers=ada.headers),
        await client.get(f"/api/files/?{query}", headers=ada.headers),
    ]
    for answer in answers:
        found = answer.json()
        assert (answer.status_code, len(found["errors"])) == (422, COMPLAINTS)
        assert found["detail"].endswith("there are more.")


async def test_an_object_of_thousands_of_members_is_refused(
    client: httpx2.AsyncClient, ada: Person
) -> None:
    """Nothing is made of each unknown field when there are very many."""
    body = dict.fromkeys(map(str, range(20_000)), 1)
    answer = await client.post("/api/books", json=body, headers=ada.headers)
    assert answer.status_code == 422
    assert "more than 100 members" in answer.json()["detail"]
