"""Repeated and conditional requests on all that has them: keys, cursors, entity tags, ranges."""

from __future__ import annotations

import asyncio
import base64
import uuid
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.api.operations import BOOK, PHOTO, RULES, SIGNING_OUT, WORDS, secured
from tests.api.people import is_problem, sign_up, things_of

if TYPE_CHECKING:
    from tests.api.people import Person

CREATE: dict[str, dict[str, Any]] = {
    "/api/images": RULES["images.upload"][1],
    "/api/tasks": RULES["tasks.create"][1],
    "/api/books": RULES["books.create"][1],
    "/api/upload": RULES["files.upload"][1],
}


@pytest.mark.parametrize("path", CREATE)
async def test_of_many_alike_at_once_one_is_made(client: httpx2.AsyncClient, path: str) -> None:
    """Eight requests with one key at the same moment: one new row.

    The others get its answer or are asked to wait.
    """
    eve = await sign_up(client)
    headers = eve.headers | {"Idempotency-Key": str(uuid.uuid4())}
    answers = await asyncio.gather(
        *(client.post(path, headers=headers, **CREATE[path]) for _ in range(8))
    )
    made = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.json()["id"] for answer in made}) == 1
    assert all(
        is_problem(answer, 409) and answer.headers["retry-after"]
        for answer in answers
        if answer not in made
    )
    again = await client.post(path, headers=headers, **CREATE[path])
    assert (again.status_code, again.content) == (201, made[0].content)
    assert again.headers["idempotent-replayed"] == "true"
    if path != "/api/books":
        listed = await client.get(path.replace("upload", "files"), headers=eve.headers)
        assert len(listed.json()) == 1


async def test_of_many_registrations_one_is_made(client: httpx2.AsyncClient) -> None:
    """The address decides when there is no key; with one, the first answer is everybody's."""
    account = {"email": f"{uuid.uuid4()}@example.org", "password": "correct horse battery"}
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    answers = await asyncio.gather(
        *(client.post("/api/users", json=account, headers=headers) for _ in range(4))
    )
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert is_problem(await client.post("/api/users", json=account), 409)


@pytest.mark.parametrize("path", ["/api/images", "/api/tasks", "/api/books", "/api/files"])
async def test_cursors_are_taken_as_given_or_not_at_all(
    client: httpx2.AsyncClient, path: str
) -> None:
    """Changed, shortened, of another list or with other filters: 422; as given: the next page."""
    eve = await sign_up(client)
    for _ in range(3):
        await things_of(client, eve)
    page = await client.get(f"{path}?limit=1", headers=eve.headers)
    link = page.links["next"]["url"]
    cursor = httpx2.URL(link).params["cursor"]
    assert (await client.get(link, headers=eve.headers)).json()[0]["id"] < page.json()[0]["id"]
    raw = base64.urlsafe_b64decode(cursor + "=")
    bad = [cursor[:-1], cursor + "A", cursor + "=", " ", "A" * 19, "-" * 19, "\u00e9"]
    bad += [
        base64.urlsafe_b64encode(raw[:8] + bytes([byte ^ 1 for byte in raw[8:]]))
        .decode()
        .rstrip("=")
    ]
    for wrong in bad:
        answer = await client.get(path, params={"limit": 1, "cursor": wrong}, headers=eve.headers)
        assert is_problem(answer, 422), wrong
    for other in {"/api/images", "/api/tasks", "/api/books", "/api/files"} - {path}:
        assert is_problem(
            await client.get(other, params={"cursor": cursor}, headers=eve.headers), 422
        ), other
    assert is_problem(
        await client.get(f"{link}&title=x&free=true&tag=x&status=ready", headers=eve.headers), 422
    )


RECORDS = (
    "/api/images/{image_id}/info",
    "/api/tasks/{task_id}",
    "/api/books/{book_id}",
    "/api/files/{file_id}/",
    "/api/users/me",
)
CONTENTS = (
    "/api/images/{image_id}/renditions/original",
    "/api/tasks/{task_id}/image",
    "/api/tasks/{task_id}/view",
    "/api/files/{file_id}/content",
)


@pytest.mark.parametrize("path", [*RECORDS, *CONTENTS])
async def test_what_a_client_has_is_not_sent_again(
    client: httpx2.AsyncClient, ada: Person, things: dict[str, object], path: str
) -> None:
    """Records and contents carry a strong entity tag, and honour If-None-Match in every form."""
    path = path.format_map(things)
    whole = await client.get(path, headers=ada.headers)
    tag = whole.headers["etag"]
    assert whole.status_code == 200
    assert tag.startswith('"')
    for condition in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = await client.get(path, headers=ada.headers | {"If-None-Match": condition})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag), (
            condition
        )
    for condition in ('"x"', tag.strip('"'), tag[:-1] + 'x"', ""):
        assert (
            await client.get(path, headers=ada.headers | {"If-None-Match": condition})
        ).status_code == 200, condition


@pytest.mark.parametrize("path", CONTENTS)
@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        ("bytes=0-0", 206, 0, 1), ("bytes=5-9", 206, 5, 10), ("bytes=-7", 206, -7, None),
        ("bytes=100-", 206, 100, None),
        ("bytes=0-99999999", 206, 0, None), ("bytes=99999999-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=9-5", 200, 0, None), ("bytes=0-0,2-3", 200, 0, None), ("chars=0-1", 200, 0, None),
        ("bytes=x", 200, 0, None),
    ],
)  # fmt: skip
async def test_parts(
    client: httpx2.AsyncClient, ada: Person, things: dict[str, object],
    path: str, asked: str, status: int, start: int, stop: int | None,
) -> None:  # fmt: skip
    """One range of bytes is a 206, none that can be had a 416, anything else the whole."""
    answer = await client.get(path.format_map(things), headers=ada.headers | {"Range": asked})
    assert answer.status_code == status
    if status == 416:
        assert is_problem(answer, 416)
        assert answer.headers["content-range"] == f"bytes */{len(PHOTO)}"
    else:
        assert answer.content == PHOTO[start:stop]
    if status == 206:
        first = start % len(PHOTO)
        assert (
            answer.headers["content-range"]
            == f"bytes {first}-{first + len(answer.content) - 1}/{len(PHOTO)}"
        )


@pytest.mark.parametrize("path", CONTENTS)
async def test_a_part_of_another_content_is_not_given(
    client: httpx2.AsyncClient, ada: Person, things: dict[str, object], path: str
) -> None:
    """If-Range: the present tag or date gives the part, any other the whole."""
    path = path.format_map(things)
    whole = await client.get(path, headers=ada.headers)
    part = ada.headers | {"Range": "bytes=0-9"}
    for condition in (whole.headers["etag"], whole.headers["last-modified"]):
        assert (await client.get(path, headers=part | {"If-Range": condition})).status_code == 206
    for condition in (
        '"x"',
        f"W/{whole.headers['etag']}",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "rubbish",
    ):
        assert (await client.get(path, headers=part | {"If-Range": condition})).status_code == 200


CHANGES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("/api/images/{image_id}", "/api/images/{image_id}/info", "PATCH", {"json": {"title": "u"}}),
    ("/api/images/{image_id}", "/api/images/{image_id}/info", "PUT", {"json": WORDS}),
    ("/api/images/{image_id}", "/api/images/{image_id}/info", "DELETE", {}),
    ("/api/tasks/{task_id}", "/api/tasks/{task_id}", "DELETE", {}),
    ("/api/books/{book_id}", "/api/books/{book_id}", "PATCH", {"json": {"title": "u"}}),
    ("/api/books/{book_id}", "/api/books/{book_id}", "PUT", {"json": BOOK | {"title": "v"}}),
    ("/api/books/{book_id}", "/api/books/{book_id}", "DELETE", {}),
    ("/api/files/{file_id}/", "/api/files/{file_id}/", "DELETE", {}),
    ("/api/users/{user_id}", "/api/users/me", "DELETE", {}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "record", "method", "body"), CHANGES)
async def test_a_change_of_what_has_changed_is_refused(
    client: httpx2.AsyncClient, path: str, record: str, method: str, body: dict[str, Any]
) -> None:
    """If-Match of another state, or a weak one: 412; without quotes: 400.

    Of the present state: done, once.
    """
    eve = await sign_up(client)
    things = await things_of(client, eve)
    path, record = path.format_map(things), record.format_map(things)
    before = await client.get(record, headers=eve.headers)
    tag = before.headers["etag"]
    for condition, status in {
        '"x"': 412,
        f"W/{tag}": 412,
        tag[:-1] + '0"': 412,
        "rubbish": 400,
        tag[1:-1]: 400,
    }.items():
        answer = await client.request(
            method, path, headers=eve.headers | {"If-Match": condition}, **body
        )
        assert is_problem(answer, status), condition
    unchanged = await client.get(record, headers=eve.headers)
    assert (unchanged.content, unchanged.headers["etag"]) == (before.content, tag)
    done = await client.request(
        method, path, headers=eve.headers | {"If-Match": f'"x", {tag}'}, **body
    )
    assert done.status_code == (204 if method == "DELETE" else 200)
    if method != "DELETE":
        after = await client.get(record, headers=eve.headers)
        assert after.headers["etag"] == done.headers["etag"] != tag
        assert is_problem(
            await client.request(method, path, headers=eve.headers | {"If-Match": tag}, **body),
            412,
        )


async def test_the_document_shows_every_condition_that_is_honoured(
    document: dict[str, Any], client: httpx2.AsyncClient
) -> None:
    """If-Match on what refuses one without quotes, and on nothing else.

    The others on what has tags and ranges.
    """
    eve = await sign_up(client)
    things = await things_of(client, eve) | {"user_id": eve.id}
    for operation in secured(document):
        found = document["paths"][operation.path][operation.method].get("parameters", ())
        shown = {parameter["name"] for parameter in found if parameter["in"] == "header"} - {
            "Idempotency-Key"
        }
        if operation.id in SIGNING_OUT:
            assert not shown
            continue
        answer = await operation.send(client, things, eve.headers | {"If-Match": "2"})
        judged = answer.status_code == 400 and "If-Match" in answer.json()["detail"]
        if answer.status_code != 404:  # as of pictures that are not processed yet
            assert judged is ("If-Match" in shown), operation
        if operation.method == "get":
            assert "etag" not in answer.headers or "If-None-Match" in shown, operation
            assert (
                "accept-ranges" not in answer.headers
                or {"Range", "If-Range", "If-Modified-Since"} <= shown
            )
