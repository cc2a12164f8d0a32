"""The whole application's shortcuts, over sockets, answer byte for byte what the routes do."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.http.support import converse

if TYPE_CHECKING:
    import httpx2
    from fastapi import FastAPI

    from tests.api.people import Person

PICTURE, RECORD = "/api/images/{image_id}/renditions/original", "/api/images/{image_id}/info"
DATE = re.compile(rb"\r\ndate: [^\r]+")


async def ask(port: int, method: str, path: str, person: Person, headers: dict[str, str]) -> bytes:
    """An answer as it came over a connection of its own, its date taken out."""
    lines = (
        {"Host": "[::1]", "Connection": "close", "X-Request-ID": "r"} | person.headers | headers
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    answer = await converse(port, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode())
    without, dates = DATE.subn(b"", answer)
    assert dates == 1
    return without


async def both_ways(
    app: FastAPI, port: int, method: str, path: str, person: Person, headers: dict[str, str]
) -> tuple[bytes, bytes]:
    """The answers of the shortcut without its route, and of the route without its shortcut."""
    edge: Any = app.middleware_stack
    await ask(port, "GET", RECORD.format(image_id=1), person, {})  # from now on the token is known
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge, "app", None)
        short = await ask(port, method, path, person, headers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge, "shortcuts", None)
        return short, await ask(port, method, path, person, headers)


@pytest.fixture(params=[None, "/stored/"], ids=["sent by us", "left to nginx"])
def accel(
    request: pytest.FixtureRequest, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> str | None:
    """Both who may send the bytes."""
    resources = app.state.resources
    settings = resources.settings.model_copy(update={"accel_prefix": request.param})
    monkeypatch.setattr(resources, "settings", settings)
    prefix: str | None = request.param
    return prefix


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"If-None-Match": "{etag}"}, 304),
        ({"If-None-Match": 'W/"other", {etag}'}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-Modified-Since": "{modified}"}, 304),
        ({"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
        ({"Range": "bytes=0-99"}, 206),
        ({"Range": "bytes=-50"}, 206),
        ({"Range": "bytes=100-"}, 206),
        ({"Range": "bytes=0-1,5-6"}, 200),
        ({"Range": "bytes=0-9", "If-Range": "{etag}"}, 206),
        ({"Range": "bytes=0-9", "If-Range": '"other"'}, 200),
        ({"Range": "bytes=999999999-"}, 416),
        ({"X-Request-ID": "not an id!"}, 200),
    ],
    ids=str,
)
async def test_a_picture_is_the_same_both_ways(
    app: FastAPI,
    port: int,
    client: httpx2.AsyncClient,
    ada: Person,
    things: dict[str, object],
    method: str,
    headers: dict[str, str],
    status: int,
    accel: str | None,
) -> None:
    """Whole, in part, and not at all: head and body are equal to the last byte."""
    path = PICTURE.format_map(things)
    known = (await client.get(path, headers=ada.headers)).headers
    headers = {
        name: value.replace("{etag}", known["etag"]).replace("{modified}", known["last-modified"])
        for name, value in headers.items()
    }
    short, long = await both_ways(app, port, method, path, ada, headers)
    if "X-Request-ID" in headers:  # then each answer has an id that no other has
        short, long = (re.sub(rb"x-request-id: [^\r]+", b"", answer) for answer in (short, long))
    assert short == long
    if (status in {206, 416} and method == "HEAD") or (
        status == 206 and accel
    ):  # nginx cuts the part out
        status = 200
    assert short.startswith(b"HTTP/1.1 %d " % status)
    if "Range" not in headers:
        assert (b"x-accel-redirect: /stored/" in short) is bool(
            accel and status == 200 and method == "GET"
        )
    assert b"x-content-type-options: nosniff" in short
    assert method == "GET" or short.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "owner", "words"),
    [
        (PICTURE, "bob", b"There is no such image."),
        ("/api/images/{image_id}", "bob", b"There is no such image."),
        ("/api/images/999999999/renditions/original", "ada", b"There is no such image."),
        ("/api/images/{image_id}/renditions/gray", "ada", b"/problems/not-ready"),
        ("/api/images/{image_id}/renditions/nothing", "ada", b"/problems/not-ready"),
        ("/api/images/{image_id}", "ada", b"/problems/not-ready"),
    ],
)
async def test_what_is_not_there_is_the_same_both_ways(
    app: FastAPI,
    port: int,
    ada: Person,
    bob: Person,
    things: dict[str, object],
    path: str,
    owner: str,
    words: bytes,
) -> None:
    """Somebody else's picture, one that was never there, and one that is still to be processed."""
    person = {"ada": ada, "bob": bob}[owner]
    short, long = await both_ways(app, port, "GET", path.format_map(things), person, {})
    assert short == long
    assert short.startswith(b"HTTP/1.1 404 ")
    assert words in short


async def test_a_token_that_has_expired_takes_no_shortcut(
    app: FastAPI,
    port: int,
    ada: Person,
    things: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was known a moment before, and is refused as if there were none."""
    path = PICTURE.format_map(things)
    assert (await ask(port, "GET", path, ada, {})).startswith(b"HTTP/1.1 200 ")
    resources = app.state.resources
    later = time.time() + resources.settings.access_token_seconds + 1
    for clock in (resources.authenticator, resources.tokens):
        monkeypatch.setattr(clock, "_now", lambda: later)
    first = await ask(port, "GET", path, ada, {})
    edge: Any = app.middleware_stack
    monkeypatch.setattr(edge, "shortcuts", None)
    assert first == await ask(port, "GET", path, ada, {})
    assert first.startswith(b"HTTP/1.1 401 ")
    assert b"www-authenticate: Bearer" in first
