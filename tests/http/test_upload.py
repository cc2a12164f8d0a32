"""Multipart uploads: what is taken, what is refused, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fastapi import APIRouter, Request, Response
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from atelier.http.app import create_app
from atelier.http.json import json_response
from atelier.http.resources import Res
from atelier.http.upload import receive
from atelier.settings import Settings
from atelier.wire.multipart import FIELD_BYTES, FIELDS_BYTES, PARTS
from atelier.wire.spool import MEMORY_BYTES
from tests.http.support import in_process, make_resources, served
from tests.waiting import eventually, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2
    from fastapi import FastAPI

    from atelier.http.resources import Resources

router = APIRouter()
LIMIT = 4 * MEMORY_BYTES
started = asyncio.Event()
ended = asyncio.Event()


@router.post("/upload")
async def upload(request: Request, res: Res, *, keep: bool = False) -> Response:
    """Say what came; `keep` takes a spooled file over."""
    async with receive(
        request, res.settings, ("file", "image"), ("title", "tags", "t", "x")
    ) as received:
        file = received.file
        content = file.content
        if isinstance(content, Path):
            assert hashlib.sha256(content.read_bytes()).hexdigest() == file.sha256
            if keep:
                content.rename(res.settings.data / "kept")
        else:
            assert hashlib.sha256(content).hexdigest() == file.sha256
        return json_response(
            {
                "name": file.name,
                "type": file.content_type,
                "sha256": file.sha256,
                "size": file.size,
                "spooled": isinstance(content, Path),
                "fields": received.fields,
            }
        )


@router.post("/stuck")
async def stuck(request: Request, res: Res) -> Response:
    """An upload whose spooled file cannot be removed, not even by root."""
    async with receive(request, res.settings) as received:
        content = received.file.content
        assert isinstance(content, Path)
        content.unlink()
        content.mkdir()
        return json_response({"size": received.file.size}, 201)


@router.post("/slow")
async def slow(request: Request, res: Res) -> Response:
    """An upload whose client will go away."""
    started.set()
    try:
        async with receive(request, res.settings) as received:
            return json_response({"size": received.file.size})
    finally:
        ended.set()


@pytest.fixture
def resources(tmp_path: Path) -> Resources:
    """A limit of four times what stays in memory."""
    return make_resources(Settings(data=tmp_path, body_limit=LIMIT))


@pytest.fixture
def app(resources: Resources) -> FastAPI:
    """The application."""
    return create_app(resources, [router])


@pytest.fixture
async def client(app: FastAPI, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client; whatever the test did, no file is left in the spool."""
    async with in_process(app) as client:
        yield client
    assert not list((tmp_path / "blobs" / ".incoming").glob("*"))


def part(head: str | bytes, content: bytes) -> bytes:
    """One part of a body with the boundary `b`."""
    return (
        b"--b\r\n"
        + (head if isinstance(head, bytes) else head.encode())
        + b"\r\n\r\n"
        + content
        + b"\r\n"
    )


def disposition(name: str, filename: str | None = None) -> str:
    """A part's header."""
    return f'Content-Disposition: form-data; name="{name}"' + (
        f'; filename="{filename}"' if filename is not None else ""
    )


FILE = part(disposition("file", "a.jpg"), b"picture")
END = b"--b--\r\n"
HEADERS = {"content-type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("size", "spooled"),
    [
        (1, False),
        (300_000, False),
        (MEMORY_BYTES, False),
        (MEMORY_BYTES + 1, True),
        (3 * MEMORY_BYTES + 7, True),
    ],
)
async def test_a_file_arrives_whole(client: httpx2.AsyncClient, size: int, spooled: bool) -> None:
    """Size and digest are right in memory and on disk."""
    content = os.urandom(size)
    answer = await client.post(
        "/upload", files={"file": ("a.jpg", content, "image/jpeg")}, data={"title": "T"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "name": "a.jpg", "type": "image/jpeg", "sha256": hashlib.sha256(content).hexdigest(),
        "size": size, "spooled": spooled, "fields": [["title", "T"]],
    }  # fmt: skip


async def test_a_file_that_is_taken_over_stays(client: httpx2.AsyncClient, tmp_path: Path) -> None:
    """A spooled file that the route moves is not removed with the request."""
    content = os.urandom(2 * MEMORY_BYTES)
    assert (await client.post("/upload?keep=1", files={"file": content})).status_code == 200
    assert (tmp_path / "kept").read_bytes() == content


async def test_the_other_name_of_the_file(client: httpx2.AsyncClient) -> None:
    """`image` is as good as `file`."""
    assert (await client.post("/upload", files={"image": b"x"})).json()["size"] == 1


async def test_fields_keep_order_and_repetition(client: httpx2.AsyncClient) -> None:
    """Before and after the file, repeated, empty, in Cyrillic."""
    body = (
        part(disposition("tags"), b"one")
        + FILE
        + part(disposition("tags"), b"")
        + part(disposition("t"), "Ж".encode())
    )
    answer = await client.post("/upload", content=body + END, headers=HEADERS)
    assert answer.json()["fields"] == [["tags", "one"], ["tags", ""], ["t", "Ж"]]


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        (END, "file"),
        (part(disposition("title"), b"x") + END, "file"),
        (part(disposition("file"), b"x") + END, "file"),
        (
            part(b'Content-Disposition: form-data; name="image"; filename="\xff"', b"x") + END,
            "image",
        ),
        (part(disposition("file", ""), b"") + END, "file"),
        (FILE + FILE + END, "file"),
        (FILE + part(disposition("image", "b.jpg"), b"x") + END, "image"),
        (FILE + part(disposition("photo", "b.jpg"), b"x") + END, "photo"),
        (FILE + part(disposition("title"), b"\xff") + END, "title"),
        (FILE + part(disposition("title"), b"a\0b") + END, "title"),
        (FILE + part(disposition("title"), b"x" * (FIELD_BYTES + 1)) + END, "title"),
        (
            FILE
            + part(disposition("x"), b"x" * FIELD_BYTES) * (FIELDS_BYTES // FIELD_BYTES + 1)
            + END,
            "x",
        ),
    ],
)
async def test_forms_that_are_not_acceptable(
    client: httpx2.AsyncClient, body: bytes, loc: str
) -> None:
    """422 names the part that is missing, empty, doubled, unknown, not text or too long."""
    answer = await client.post("/upload", content=body, headers=HEADERS)
    assert (answer.status_code, [error["loc"] for error in answer.json()["errors"]]) == (
        422,
        [["body", loc]],
    )


@pytest.mark.parametrize("place", ["before", "after"])
async def test_an_unknown_field_is_refused(client: httpx2.AsyncClient, place: str) -> None:
    """A misspelt name is refused with the names that exist."""
    misspelt = part(disposition("titel"), b"Sea")
    body = misspelt + FILE if place == "before" else FILE + misspelt
    answer = await client.post("/upload", content=body + END, headers=HEADERS)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {
            "loc": ["body", "titel"],
            "msg": "There is no such field; there are `file`, `image`, `title`, `tags`, `t`, `x`",
        }
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"rubbish", 400),
        (FILE, 400),
        (FILE[:-3], 400),
        (FILE + b"--b", 400),
        (part("Content-Disposition: attachment", b"x") + END, 400),
        (part("Content-Type: image/jpeg", b"x") + END, 400),
        (part(b'Content-Disposition: form-data; name="\xff"', b"x") + END, 400),
        (b"--b\nContent-Disposition: form-data\n\nx\n--b--", 400),
        (part(disposition("file", "a") + "\r\nContent-Length: 3", b"four") + END, 400),
        (part(disposition("a" * 10_000), b"x") + END, 422),
        (part(disposition("x"), b"") * (PARTS + 1) + END, 422),
    ],
)
async def test_broken_bodies(client: httpx2.AsyncClient, body: bytes, status: int) -> None:
    """A body that is no multipart, ends early or has too many parts is a client error."""
    answer = await client.post("/upload", content=body, headers=HEADERS)
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), answer.text


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 415),
        ("application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/mixed; boundary=b", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ('multipart/form-data; boundary=""', 400),
        ("multipart/form-data; boundary=" + "b" * 300, 400),
        ("multipart/form-data; boundary=c", 400),
        ("MULTIPART/Form-Data; BOUNDARY=b", 200),
        ('multipart/form-data; charset=utf-8; boundary="b"', 200),
    ],
)
async def test_the_content_type(
    client: httpx2.AsyncClient, content_type: str | None, status: int
) -> None:
    """multipart/form-data with the boundary that the body has."""
    headers = {"content-type": content_type} if content_type else {}
    assert (
        await client.post("/upload", content=FILE + END, headers=headers)
    ).status_code == status


@pytest.mark.parametrize("size", [LIMIT + 1, 2 * LIMIT])
async def test_a_file_over_the_limit(client: httpx2.AsyncClient, size: int) -> None:
    """413, whether the length was announced or not."""

    async def stream() -> AsyncIterator[bytes]:
        yield part(disposition("file", "a"), b"")[:-2]
        for _ in range(0, size, MEMORY_BYTES):
            yield b"x" * MEMORY_BYTES
        yield b"\r\n" + END

    assert (await client.post("/upload", files={"file": b"x" * size})).status_code == 413
    assert (await client.post("/upload", content=stream(), headers=HEADERS)).status_code == 413


@pytest.mark.parametrize("size", [1000, 3 * MEMORY_BYTES])
async def test_a_client_that_goes_away_leaves_nothing(
    app: FastAPI, tmp_path: Path, size: int
) -> None:
    """A file broken off in memory or on disk is gone."""
    started.clear()
    ended.clear()
    head = (
        f"POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LIMIT}\r\nContent-Type: "
        f"{HEADERS['content-type']}\r\n\r\n"
    )
    async with served(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + part(disposition("file", "a"), b"x" * size)[:-2])
        await writer.drain()
        async with patience():
            await started.wait()
        if size > MEMORY_BYTES:
            await eventually(lambda: list((tmp_path / "blobs" / ".incoming").glob("*")))
        writer.close()
        async with patience():
            await ended.wait()
    assert not list((tmp_path / "blobs" / ".incoming").glob("*"))


async def test_a_slow_client_is_served(app: FastAPI) -> None:
    """A byte at a time is a file, too."""
    body = part(disposition("title"), b"slow") + FILE + END
    head = f"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    head += "Connection: close\r\n"
    head += f"Content-Type: {HEADERS['content-type']}\r\n\r\n"
    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode())
        for at in range(len(body)):
            writer.write(body[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)
        async with patience():
            answer = await reader.read()
        writer.close()
    assert b'"size":7' in answer
    assert b'[["title","slow"]]' in answer


@hypothesis_settings(max_examples=40)
@given(content=st.binary(max_size=400), cuts=st.lists(st.integers(1, 60), min_size=1, max_size=20))
async def test_any_content_in_any_pieces(
    content: bytes, cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever the network cuts the body, even inside the boundary, the file is what was sent."""
    folder = tmp_path_factory.mktemp("pieces")
    body = part(disposition("file", "a"), content) + END

    async def stream() -> AsyncIterator[bytes]:
        at, turn = 0, 0
        while at < len(body):
            yield body[at : at + cuts[turn % len(cuts)]]
            at += cuts[turn % len(cuts)]
            turn += 1

    app = create_app(make_resources(Settings(data=folder)), [router])
    if b"--b" in content:
        return
    async with in_process(app) as client:
        answer = await client.post("/upload", content=stream(), headers=HEADERS)
    assert answer.json()["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('filename="Тень.jpg"', "Тень.jpg"),
        ("filename*=UTF-8''%D0%A2.jpg", "Т.jpg"),
        ('filename="C:\\\\Users\\\\me\\\\a.jpg"', "a.jpg"),
        ('filename="../../etc/passwd"', "passwd"),
        ('filename="a%22b.jpg"', 'a"b.jpg'),
        ("filename=plain.jpg", "plain.jpg"),
    ],
)
async def test_the_file_keeps_its_name_but_no_path(
    client: httpx2.AsyncClient, header: str, name: str
) -> None:
    """As browsers, curl and older libraries send it."""
    body = part(f'Content-Disposition: form-data; name="file"; {header}', b"x") + END
    assert (await client.post("/upload", content=body, headers=HEADERS)).json()["name"] == name


async def test_what_cannot_be_removed_changes_no_answer(app: FastAPI) -> None:
    """The upload was stored, whatever becomes of its spooled file."""
    body = part(disposition("file", "a"), bytes(MEMORY_BYTES + 1)) + END
    async with in_process(app) as client:
        answer = await client.post("/stuck", content=body, headers=HEADERS)
    assert (answer.status_code, answer.json()) == (201, {"size": MEMORY_BYTES + 1})
