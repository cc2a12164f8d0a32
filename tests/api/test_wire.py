"""The contract on the wire: the whole application behind uvicorn, spoken to over sockets."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.operations import AS_JSON, PHOTO, SIGNING_OUT, every
from tests.api.people import is_problem
from tests.waiting import patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from atelier.settings import Settings
    from tests.api.operations import Operation
    from tests.api.people import Person

HUGE_BYTES = 200 * 1024 * 1024
MIB = 1024 * 1024
CROWD = 100  # connections that never finish what they say


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "/api/nothing", "/api/images/1/nothing", "/api/imagesx", "//api/images",
        "/api//images", "/API/IMAGES", "/api/images/1/renditions", "/api/files/1/nothing",
        "/api/filesx",
        "/files/nothing/else", "/upload/nothing", "/api/tasks/1/2/3", "/docs/nothing/else",
        "/.git/config",
        "/api/images/..%2f..%2fetc/passwd",
        "/api/images/1/renditions/..%2f..%2fsecret", "/static/x", "/admin/", "/" + "a" * 8000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_unknown_paths_are_problems(
    client: httpx2.AsyncClient, ada: Person, method: str, path: str
) -> None:
    """FastAPI's part and Django's answer alike, whatever the method."""
    assert is_problem(await client.request(method, path, headers=ada.headers), 404, 405)


async def test_undeclared_methods_are_problems(
    client: httpx2.AsyncClient, ada: Person, things: dict[str, object], document: dict[str, Any]
) -> None:
    """Each path answers 405 to what it does not declare, and `Allow` names what it does."""
    declared: dict[str, set[str]] = {}
    for operation in every(document):
        declared.setdefault(operation.path, set()).add(operation.method.upper())
    for path, methods in declared.items():
        allowed = methods | ({"HEAD"} if "GET" in methods else set())
        for method in {"GET", "POST", "PUT", "DELETE", "OPTIONS"} - methods:
            answer = await client.request(method, path.format_map(things), headers=ada.headers)
            assert is_problem(answer, 405), (method, path, answer.status_code, answer.text)
            assert {word.strip() for word in answer.headers["allow"].split(",")} - {
                "OPTIONS"
            } == allowed, path


async def test_a_last_slash_does_not_count(
    client: httpx2.AsyncClient, ada: Person, things: dict[str, object], document: dict[str, Any]
) -> None:
    """Every operation answers with and without it, without a redirect and with the same status."""
    for operation in every(document):
        if operation.secured and operation.method != "delete" and operation.id not in SIGNING_OUT:
            other = operation.path[:-1] if operation.path.endswith("/") else f"{operation.path}/"
            first = await operation.send(client, things, ada.headers)
            twin = await renamed(operation, other).send(client, things, ada.headers)
            assert first.status_code == twin.status_code, (operation, first.text, twin.text)
            assert not 300 <= twin.status_code < 400


def renamed(operation: Operation, path: str) -> Operation:
    """The same operation at another path."""
    return type(operation)(operation.id, operation.method, path, operation.secured)


async def test_head_is_get_without_a_body(
    client: httpx2.AsyncClient, ada: Person, things: dict[str, object], document: dict[str, Any]
) -> None:
    """Status, type, length and entity tag are those of GET, on every path that has one."""
    for operation in every(document):
        if operation.method != "get" or operation.id in {"tasks.take_free_task", "health.metrics"}:
            continue
        path = operation.path.format_map(things)
        whole = await client.get(path, headers=ada.headers | AS_JSON.get(operation.id, {}))
        head = await client.head(path, headers=ada.headers | AS_JSON.get(operation.id, {}))
        assert head.content == b""
        for name in ("content-type", "content-length", "etag", "last-modified"):
            assert head.headers.get(name) == whole.headers.get(name), (path, name)
        assert head.status_code == whole.status_code, path


async def flood(size: int) -> AsyncIterator[bytes]:
    """So many bytes of a multipart body that never ends."""
    yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    piece = bytes(MIB)
    for _ in range(size // MIB):
        yield piece


@pytest.mark.parametrize("path", ["/api/images", "/api/tasks", "/api/upload/", "/upload"])
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
async def test_a_body_of_200_mb_is_refused_and_its_sender_told(
    client: httpx2.AsyncClient, settings: Settings, ada: Person, path: str, *, announced: bool
) -> None:
    """413, whether its length was said or not; nothing of it stays on the disk."""
    headers = ada.headers | {"Content-Type": "multipart/form-data; boundary=x"}
    if announced:
        headers["Content-Length"] = str(sum([len(chunk) async for chunk in flood(HUGE_BYTES)]))
    answer = await client.post(path, content=flood(HUGE_BYTES), headers=headers)
    assert is_problem(answer, 413)
    assert list(settings.data.rglob("*.upload")) == []


async def test_a_length_that_is_too_large_is_refused_before_the_body(
    port: int, ada: Person
) -> None:
    """The answer is there though not one byte of the body was sent, for every kind of body."""
    for path, kind in (
        ("/api/images", "multipart/form-data; boundary=x"),
        ("/api/books", "application/json"),
    ):
        head = (
            f"POST {path} HTTP/1.1\r\nHost: [::1]\r\nAuthorization: Bearer "
            f"{ada.token}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {HUGE_BYTES}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode())
        async with patience():
            line = await reader.readline()
        assert line.split()[1] == b"413", path
        writer.close()


@pytest.mark.parametrize("size", [8 * 1024, 64 * 1024, MIB, 64 * MIB])
async def test_huge_headers_do_no_harm(port: int, client: httpx2.AsyncClient, size: int) -> None:
    """They are taken or refused, early when they are large, and the next client is served."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(
            b"GET /api/users/me HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\nX-Large: "
        )
        for _ in range(max(1, size // MIB)):
            writer.write(b"a" * min(size, MIB))
            await writer.drain()
        writer.write(b"\r\n\r\n")
        async with patience():
            answer = await reader.read()
    except ConnectionError:
        pass  # it was not read to its end
    writer.close()
    assert not answer or answer.split()[1] == (b"401" if size <= 64 * 1024 else b"431")
    assert answer or size > 64 * 1024
    assert (await client.get("/healthz")).status_code == 200


async def test_clients_that_never_finish_do_not_block_others(
    port: int, client: httpx2.AsyncClient, ada: Person
) -> None:
    """A crowd that stops in the middle of headers and bodies; the others are served as ever."""
    openings = [
        b"GET /api/im",
        b"GET /api/images HTTP/1.1\r\nHost: [::1]\r\nX-Slow:",
        "POST /api/images HTTP/1.1\r\nHost: [::1]\r\nAuthorization: Bearer "
        f"{ada.token}\r\nContent-Length: 1000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode(),
        "POST /api/upload/ HTTP/1.1\r\nHost: [::1]\r\nAuthorization: Bearer "
        f"{ada.token}\r\nContent-Length: 1000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode(),
        "POST /api/books HTTP/1.1\r\nHost: [::1]\r\nAuthorization: Bearer "
        f"{ada.token}\r\nContent-Length: 1000\r\n"
        'Content-Type: application/json\r\n\r\n{"title"'.encode(),
    ]
    crowd = []
    for opening in itertools.islice(itertools.cycle(openings), CROWD):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(opening)
        await writer.drain()
        crowd.append(writer)
    for path in ("/api/images", "/api/files", "/api/books", "/readyz"):
        assert (await client.get(path, headers=ada.headers)).status_code == 200
    upload = await client.post(
        "/api/upload", files={"file": ("a.txt", b"text")}, headers=ada.headers
    )
    assert upload.status_code == 201
    for writer in crowd:
        writer.close()


@pytest.mark.parametrize("value", [b"true", b'"7"', b"7.5", b"null", b"[7]", b"1e30", b"-1", b"0"])
async def test_integers_in_bodies_are_strict(
    client: httpx2.AsyncClient, ada: Person, things: dict[str, object], value: bytes
) -> None:
    """Neither booleans nor texts nor fractions are integers, and limits hold."""
    headers = ada.headers | {"Content-Type": "application/json"}
    for path, body in (
        (f"/api/tasks/{things['task_id']}/release", b'{"token":%b}'),
        ("/api/tasks/take", LEASE),
    ):
        if value != b"null" or body is not LEASE:
            assert is_problem(
                await client.post(path, content=body % value, headers=headers), 422
            ), (path, value)


LEASE = b'{"lease_seconds":%b}'


@pytest.mark.parametrize(
    "value",
    [
        "true",
        "1.0",
        "1_0",
        "%2B1",
        "%201",
        "1e2",
        "0",
        "501",
        "-1",
        "",
        "x",
        "0x10",
        "%D9%A3",
        "9" * 30,
    ],
)
@pytest.mark.parametrize("path", ["/api/images", "/api/tasks", "/api/books", "/api/files"])
async def test_integers_in_queries_are_decimal(
    client: httpx2.AsyncClient, ada: Person, path: str, value: str
) -> None:
    """`limit` is 1 to 500 in ASCII digits."""
    assert is_problem(await client.get(f"{path}?limit={value}", headers=ada.headers), 422)


@pytest.mark.parametrize(
    "value", ["true", "1.0", "1_0", "%201", "0", "-1", "x", "0x10", "9" * 30, "%D9%A3", str(2**63)]
)
@pytest.mark.parametrize(
    "path",
    ["/api/images/{}/info", "/api/images/{}", "/api/tasks/{}", "/api/books/{}", "/api/files/{}"],
)
async def test_ids_that_are_none_name_nothing(
    client: httpx2.AsyncClient, ada: Person, path: str, value: str
) -> None:
    """A 404 or a 422, never an error of ours."""
    assert is_problem(await client.get(path.format(value), headers=ada.headers), 404, 422)


BAD_BODIES = {
    "nothing": b"", "half": b'{"title": ', "not UTF-8": b'{"title": "\xff"}',
    "UTF-16": '{"title": "x"}'.encode("utf-16"),
    "a lone surrogate": b'{"title": "\\ud800"}', "a NUL": b'{"title": "\\u0000"}',
    "a raw NUL": b'{"title": "\x00"}',
    "NaN": b'{"title": NaN}', "an array": b"[]", "a text": b'"x"', "null": b"null",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"title":' * 20_000 + b"1" + b"}" * 20_000,
    "a large number": b'{"title": 1e999}', "many digits": b'{"title": ' + b"9" * 10_000 + b"}",
    "an unknown field": b'{"nonsense": 1}', "the same twice": b'{"title": 1, "title": 2}',
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_BODIES)
async def test_bad_json_is_the_clients_fault(
    client: httpx2.AsyncClient,
    ada: Person,
    things: dict[str, object],
    document: dict[str, Any],
    kind: str,
) -> None:
    """On every operation that takes JSON: a problem of 4xx, unless the body may be left out."""
    headers = ada.headers | {"Content-Type": "application/json"}
    for name, item in document["paths"].items():
        for method, described in item.items():
            if "application/json" in described.get("requestBody", {}).get("content", {}):
                path = name.format_map(things)
                optional = path == "/api/tasks/take" or method == "delete"
                if not (optional and kind in {"nothing", "null"}):
                    answer = await client.request(
                        method, path, content=BAD_BODIES[kind], headers=headers
                    )
                    assert is_problem(answer, 400, 413, 422), (method, path, answer.text)


@pytest.mark.parametrize("query", ["%00", "%ff", "%ed%a0%80", "a%00b"])
@pytest.mark.parametrize(
    "path",
    ["/api/images?q=", "/api/books?title=", "/api/files?status=", "/api/tasks?cursor=", "/x/"],
)
async def test_addresses_that_are_no_text(
    client: httpx2.AsyncClient, ada: Person, path: str, query: str
) -> None:
    """NUL, broken UTF-8 and surrogates in addresses are 400, in every part of the application."""
    assert is_problem(await client.get(path + query, headers=ada.headers), 400)


@pytest.mark.parametrize("text", ["\0", "a\0b", "\x07", "\x1b[31m"])
async def test_control_characters_in_forms(
    client: httpx2.AsyncClient, ada: Person, text: str
) -> None:
    """They are refused wherever they would be shown."""
    photo = {"file": ("a.jpg", PHOTO)}
    for field in ("title", "description", "tags"):
        answer = await client.post(
            "/api/images", files=photo, data={field: text}, headers=ada.headers
        )
        assert is_problem(answer, 422), field


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\\b.jpg", "con.jpg", "\u202egpj.exe", "é" * 300, ".", "..", ""]
)
async def test_file_names_are_only_names(
    client: httpx2.AsyncClient, ada: Person, name: str
) -> None:
    """Any file name is accepted, kept out of storage, and served under a harmless name."""
    for path, part in (("/api/images", "file"), ("/api/upload", "file")):
        answer = await client.post(path, files={part: (name, PHOTO)}, headers=ada.headers)
        if answer.status_code == 201:
            record = answer.json()
            shown = record.get("title") or record.get("name") or ""
            assert "/" not in shown
            assert "\u202e" not in shown
        else:
            assert is_problem(answer, 400, 422), (path, name)
