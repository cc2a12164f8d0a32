"""Shortcuts answer what their routes would, and step aside for everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qs, unquote

import pytest
from fastapi import APIRouter, Path, Request, Response

from atelier.auth import Principal, Right, Role, key_digest
from atelier.errors import NotFound
from atelier.http.app import create_app
from atelier.http.auth import CurrentUser
from atelier.http.conditional import record_response
from atelier.http.resources import Res, Resources
from atelier.http.shortcuts import Shortcut
from tests.http.support import in_process
from tests.lookups import Everybody

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

PATH = "/things/{thing_id}/info"
PART = "/things/{thing_id}/parts/{name}/end"
router = APIRouter()
ways: list[str] = []


async def answer(request: Request, thing_id: int, user: Principal, _: Resources) -> Response:
    """Answer for both the shortcut and the route."""
    if thing_id == 404:
        raise NotFound("No such thing.")
    if thing_id == 500:
        raise RuntimeError("a bug")
    return record_response(request, b'{"id":%d,"owner":%d}' % (thing_id, user.user_id), "1")


async def quick(
    request: Request, thing_id: int, user: Principal, resources: Resources
) -> Response:
    """The short way."""
    ways.append("short")
    return await answer(request, thing_id, user, resources)


@router.get(PATH)
async def thing(
    request: Request, thing_id: Annotated[int, Path(ge=1)], user: CurrentUser, res: Res
) -> Response:
    """The long way."""
    ways.append("long")
    return await answer(request, thing_id, user, res)


async def quick_part(
    _: Request, thing_id: int, name: str, user: Principal, __: Resources, v: str = ""
) -> Response:
    """The short way to a part."""
    ways.append("short")
    return Response(f"{thing_id} {name} {user.user_id}{v}")


@router.get(PART)
async def part(thing_id: int, name: str, user: CurrentUser, v: str = "") -> Response:
    """The long way to it."""
    ways.append("long")
    return Response(f"{thing_id} {name} {user.user_id}{v}")


@pytest.fixture
async def client(resources: Resources) -> AsyncIterator[httpx2.AsyncClient]:
    """A signed-in client whose token has just been verified."""
    shortcuts = [
        Shortcut("/others/{other_id}", answer, Right.IMAGES_READ),
        Shortcut(PART, quick_part, Right.IMAGES_READ, versioned=True),
        Shortcut(PATH, quick, Right.IMAGES_READ),
    ]
    async with in_process(create_app(resources, [router], shortcuts=shortcuts)) as client:
        client.headers["authorization"] = f"Bearer {resources.tokens.issue(7, 'session')}"
        await client.get("/things/1/info")
        assert ways.pop() == "long"
        ways.clear()
        yield client


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("number", "status"), [(1, 200), (999_999_999_999_999_999, 200), (404, 404), (500, 500)]
)
async def test_the_short_way_says_the_same(
    client: httpx2.AsyncClient, resources: Resources, method: str, number: int, status: int
) -> None:
    """The shortcut and the route give equal answers, errors and headers."""
    answers = [
        await client.request(method, f"/things/{number}/info", headers={"x-request-id": "r"})
    ]
    another = resources.tokens.issue(7, "session")  # which was never verified
    client.headers["authorization"] = f"Bearer {another}"
    answers.append(
        await client.request(method, f"/things/{number}/info", headers={"x-request-id": "r"})
    )
    assert ways == ["short", "long"]
    short, long = ({**found.json(), "error_id": ""} if found.content else {} for found in answers)
    assert short == long
    assert [found.status_code for found in answers] == [status, status]
    if status != 500:
        assert answers[0].headers == answers[1].headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/things/0/info", 422), ("/things/-1/info", 422), ("/things/x/info", 422),
        ("/things/01/info", 200),
        ("/things/1000000000000000000/info", 200), ("/things/1/other", 404),
        ("/things/%D9%A3/info", 422),
        ("/things/1/info?size=2", 422), ("/things/1/info?v=2", 422),
    ],
)  # fmt: skip
async def test_odd_paths_go_the_long_way(
    client: httpx2.AsyncClient, path: str, status: int
) -> None:
    """Whatever is to be decided is decided in one place."""
    assert (await client.get(path)).status_code == status
    assert "short" not in ways


@pytest.mark.parametrize(
    ("name", "way"),
    [("a", "short"), ("500x500", "short"), ("a" * 50, "short"), ("a" * 51, "long"), ("A", "long"),
     ("a.b", "long"),
     ("%61b", "short"), ("%C3%A9", "long"), ("a%0A", "long"), ("%D9%A3", "long")],
)  # fmt: skip
async def test_a_name_in_its_usual_letters_goes_the_short_way(
    client: httpx2.AsyncClient, name: str, way: str
) -> None:
    """And arrives as the route would get it; any other is for the route."""
    answer = await client.get(f"/things/12/parts/{name}/end")
    assert (answer.status_code, answer.text, ways) == (200, f"12 {unquote(name)} 7", [way])


@pytest.mark.parametrize("value", ["", "Bearer x", "Basic YTpi"])
async def test_who_is_not_known_goes_the_long_way(client: httpx2.AsyncClient, value: str) -> None:
    """And is told so there."""
    answer = await client.get("/things/1/info", headers={"authorization": value})
    assert (answer.status_code, "www-authenticate" in answer.headers, ways) == (401, True, [])


async def test_other_methods_go_the_long_way(client: httpx2.AsyncClient) -> None:
    """405 comes from the router."""
    assert (await client.put("/things/1/info")).status_code == 405
    assert (await client.get("/things/1/info/")).status_code == 200
    assert ways == ["short"]


async def test_metrics_name_the_same_route(client: httpx2.AsyncClient) -> None:
    """Both ways are counted together."""
    await client.get("/things/1/info")
    text = (await client.get("/metrics")).text
    assert (
        'atelier_http_requests_total{method="GET",route="/things/{thing_id}/info",status="200"} '
        "2.0" in text
    )


async def test_a_key_without_the_right_goes_the_long_way(
    client: httpx2.AsyncClient, resources: Resources
) -> None:
    """The route says what is missing; a key with the right is answered at once."""
    roles = {7: Role.OWNER}
    lookup = resources.authenticator._lookup
    assert isinstance(lookup, Everybody)
    for number, right in enumerate((Right.IMAGES_READ, Right.FILES_READ)):
        key = f"atk_{number}"
        lookup.keys[key_digest(key)] = Principal(
            7, f"key.{number}", key_id=number, rights=frozenset({right}), roles=roles
        )
        client.headers["authorization"] = f"Bearer {key}"
        await client.get(PATH.format(thing_id=1) + "?x=1")  # verified, and refused for its query
        ways.clear()
        await client.get(PATH.format(thing_id=1))
        assert ways == ["short" if right is Right.IMAGES_READ else "long"]


@pytest.mark.parametrize(
    ("query", "way"),
    [("v=0a", "short"), ("v=", "long"), ("v=A", "long"), ("v=0&v=1", "long"), ("v=0%61", "long"),
     ("v=" + "0" * 65, "long")],
)  # fmt: skip
async def test_a_version_in_its_usual_form_goes_the_short_way(
    client: httpx2.AsyncClient, query: str, way: str
) -> None:
    """And arrives as the route would get it; any other query is for the route."""
    answer = await client.get(f"{PART.format(thing_id=1, name='a')}?{query}")
    assert ways == [way]
    assert answer.text == f"1 a 7{parse_qs(query).get('v', [''])[-1]}"
