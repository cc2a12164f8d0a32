"""Keyset pages: limits, cursors and the link to the next page."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import APIRouter, Response

from atelier.http.app import create_app
from atelier.http.paging import Page, page_response
from atelier.wire.paging import DEFAULT_LIMIT
from tests.http.support import in_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from atelier.http.resources import Resources

router = APIRouter()
IDS = range(1200, 0, -1)


@router.get("/things")
@router.get("/others")
async def things(page: Page, tag: str | None = None, x: str = "") -> Response:
    """Ids, newest first; `tag` keeps the even ones."""
    ids = [
        number
        for number in IDS
        if (page.before is None or number < page.before) and (not tag or number % 2 == 0)
    ]
    return page_response(page, [{"id": number} for number in ids[: page.fetch]])


@pytest.fixture
async def client(resources: Resources) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application."""
    async with in_process(create_app(resources, [router])) as client:
        yield client


async def walk(client: httpx2.AsyncClient, path: str) -> list[list[int]]:
    """The ids of every page, by following the links."""
    pages = []
    while path:
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        pages.append([thing["id"] for thing in answer.json()])
        path = answer.links["next"]["url"] if "link" in answer.headers else ""
    return pages


@pytest.mark.parametrize(
    ("limit", "sizes"), [(500, [500, 500, 200]), (400, [400] * 3), (499, [499, 499, 202])]
)
async def test_the_links_lead_through_everything_once(
    client: httpx2.AsyncClient, limit: int, sizes: list[int]
) -> None:
    """No record is missed or shown twice, and a full last page has no link to an empty one."""
    pages = await walk(client, f"/things?limit={limit}")
    assert [len(page) for page in pages] == sizes
    assert [number for page in pages for number in page] == list(IDS)


async def test_a_page_is_fifty_unless_said(client: httpx2.AsyncClient) -> None:
    """The default limit."""
    assert len((await client.get("/things")).json()) == DEFAULT_LIMIT


async def test_the_link_keeps_the_filters(client: httpx2.AsyncClient) -> None:
    """Other parameters travel on, whatever characters they have, repeated or empty."""
    answer = await client.get(
        "/things", params=[("tag", "a&b=ü\n>"), ("limit", "2"), ("x", ""), ("x", "1")]
    )
    link = urlsplit(answer.links["next"]["url"])
    query = parse_qs(link.query, keep_blank_values=True)
    assert (link.scheme, link.netloc, link.path) == ("", "", "/things")
    assert (query["tag"], query["x"], query["limit"]) == (["a&b=ü\n>"], ["", "1"], ["2"])
    assert (await client.get(answer.links["next"]["url"])).json() == [{"id": 1196}, {"id": 1194}]


async def test_the_limit_may_change_on_the_way(client: httpx2.AsyncClient) -> None:
    """A cursor says where to go on, not how far."""
    link = (await client.get("/things?limit=2")).links["next"]["url"]
    assert len((await client.get(link.replace("limit=2", "limit=7"))).json()) == 7


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=-1", "limit=many", "limit=", "limit=1e2", "limit=" + "9" * 30],
)
async def test_limits_have_limits(client: httpx2.AsyncClient, query: str) -> None:
    """1 to 500."""
    answer = await client.get(f"/things?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["query", "limit"])


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "AAAA", "A" * 19, "A" * 20, "A" * 5000, "ü", "%F0%9F%98%80", "AAAAAAAAAAA AAAAAAA"],
)
async def test_rubbish_is_no_cursor(client: httpx2.AsyncClient, cursor: str) -> None:
    """Whatever was not made here is a 422 of that parameter."""
    answer = await client.get(f"/things?cursor={cursor}")
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["query", "cursor"])


@pytest.mark.parametrize("foreign", ["/others?", "/things?tag=x&", "/things?tag=&"])
async def test_a_cursor_belongs_to_its_list_and_filters(
    client: httpx2.AsyncClient, foreign: str
) -> None:
    """Another list or other filters refuse it: the page would be a wrong one."""
    link = (await client.get("/things?limit=2")).links["next"]["url"]
    answer = await client.get(foreign + urlsplit(link).query)
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["query", "cursor"])


async def test_the_order_of_parameters_does_not_count(client: httpx2.AsyncClient) -> None:
    """The same filters in another order are the same list."""
    link = (await client.get("/things?limit=2&tag=a&x=1")).links["next"]["url"]
    cursor = parse_qs(urlsplit(link).query)["cursor"][0]
    assert (await client.get(f"/things?x=1&cursor={cursor}&tag=a")).status_code == 200
