"""Errors as problem+json: every kind, validation, unknown paths, and what never leaves."""

from __future__ import annotations

import ast
import base64
import hashlib
import html
import logging
import re
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import asyncpg
import pytest
from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict

from atelier import errors
from atelier.http import problems
from atelier.http.app import create_app
from atelier.http.resources import Res
from atelier.problem_types import PROBLEM_TYPES
from atelier.wire.problems import OTHERS, STATUSES
from tests.http.support import in_process, make_resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from atelier.http.resources import Resources
    from atelier.settings import Settings

ROOT = Path(__file__).parents[2]
MEDIA_TYPE = "application/problem+json"
HIDDEN = "SELECT secret FROM /srv/atelier/data"
router = APIRouter()


class Login(BaseModel):
    """A body with something that must not be repeated."""

    model_config = ConfigDict(strict=True, extra="forbid")

    password: int
    count: int = 0


class Oops(errors.AtelierError):
    """A fault of the server, not of the client."""

    slug = "oops"


KINDS = {kind.__name__: kind for kind in STATUSES}


@router.get("/raise/{name}")
async def raises(name: str) -> None:
    """Raise a kind."""
    raise KINDS[name]("Because.")


@router.get("/special")
async def special() -> None:
    """Raise a kind under its own slug, with a time."""
    raise errors.NotFound("Not yet.", slug="not-ready", retry_after=3)


@router.get("/ours")
async def ours() -> None:
    """Raise an error that has no status."""
    raise Oops(HIDDEN)


@router.get("/bug")
async def bug() -> None:
    """Fail."""
    raise RuntimeError(HIDDEN)


@router.get("/http/{status}")
async def http(status: int) -> None:
    """Raise the framework's own."""
    raise HTTPException(status)


@router.post("/login")
async def login(body: Login) -> dict[str, int]:
    """Want a body."""
    return {"count": body.count}


@router.get("/list")
async def listed(limit: Annotated[int, Query(ge=1)]) -> dict[str, int]:
    """Want a parameter."""
    return {"limit": limit}


@router.delete("/list")
async def delete_all() -> None:
    """Be another method of the same path."""


@router.get("/database")
async def database(res: Res, text: str = "", number: int = 0) -> None:
    """Give the database what it is told."""
    await res.database.fetchrow(
        "SELECT $1::text, $2::int", text + "\0" if text == "nul" else text, number
    )


@router.get("/broken")
async def broken() -> None:
    """Lose the database amid a statement."""
    raise asyncpg.InternalClientError(HIDDEN)


@router.get("/redis")
async def redis(res: Res) -> None:
    """Ask Redis."""
    await res.redis.get("key")


@pytest.fixture
async def client(resources: Resources) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application."""
    async with in_process(create_app(resources, [router])) as client:
        yield client


@pytest.mark.parametrize(("kind", "status"), STATUSES.items())
async def test_every_kind_has_its_status(
    client: httpx2.AsyncClient, kind: type[errors.AtelierError], status: int
) -> None:
    """A kind leaves as a problem with its slug, its title and the detail."""
    answer = await client.get(f"/raise/{kind.__name__}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPE)
    assert answer.json() == {
        "type": f"/problems/{kind.slug}", "title": kind().title, "status": status,
        "detail": "Because.",
    }  # fmt: skip
    assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_a_use_case_may_name_its_error(client: httpx2.AsyncClient) -> None:
    """The slug and the time to wait of the raised error count."""
    answer = await client.get("/special")
    assert (answer.status_code, answer.headers["retry-after"]) == (404, "3")
    assert answer.json()["type"] == "/problems/not-ready"
    assert answer.json()["title"] == "This is still being processed"


@pytest.mark.parametrize("path", ["/bug", "/ours"])
async def test_the_unexpected_says_nothing_but_an_id(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """The error's text stays inside; its id is in the log, with the traceback."""
    with caplog.at_level(logging.ERROR):
        answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (500, MEDIA_TYPE)
    assert answer.json().keys() == {"type", "title", "status", "detail", "error_id"}
    assert "SELECT" not in answer.text
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert answer.json()["error_id"] in record.getMessage()
    assert record.exc_info
    assert HIDDEN in str(record.exc_info[1])


@pytest.mark.parametrize(
    ("status", "slug"),
    [(404, "not-found"), (406, "not-acceptable"), (409, "conflict"), (500, "internal-error")],
)
async def test_the_frameworks_errors_are_problems_too(
    client: httpx2.AsyncClient, status: int, slug: str
) -> None:
    """An HTTPException from any part of the stack has our shape."""
    answer = await client.get(f"/http/{status}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPE)
    assert answer.json()["type"] == f"/problems/{slug}"
    assert "detail" not in answer.json()


async def test_a_status_without_a_slug_is_about_blank(client: httpx2.AsyncClient) -> None:
    """A status that is in no table has the type that RFC 9457 gives it, its phrase as title."""
    answer = await client.get("/http/418")
    assert answer.json() == {"type": "about:blank", "title": "I'm a Teapot", "status": 418}


async def test_an_unknown_path_is_a_problem(client: httpx2.AsyncClient) -> None:
    """404 for a path without a route."""
    answer = await client.get("/nothing/here")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_a_wrong_method_names_the_right_ones(client: httpx2.AsyncClient) -> None:
    """405 lists the methods of every route of the path, HEAD included."""
    answer = await client.put("/list")
    assert (answer.status_code, answer.json()["type"]) == (405, "/problems/method-not-allowed")
    assert answer.headers["allow"] == "DELETE, GET, HEAD"


async def test_validation_names_places_and_repeats_no_values(client: httpx2.AsyncClient) -> None:
    """422 says where and why; a password in the wrong field is not sent back."""
    answer = await client.post(
        "/login", json={"password": "hunter2", "count": True, "extra": "hunter3"}
    )
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid")
    assert [error["loc"] for error in answer.json()["errors"]] == [
        ["body", "password"], ["body", "count"], ["body", "extra"],
    ]  # fmt: skip
    assert [error["msg"] for error in answer.json()["errors"]] == [
        "A whole number is needed", "A whole number is needed",
        "There is no such field; there are `password`, `count`",
    ]  # fmt: skip
    assert all(error.keys() == {"loc", "msg"} for error in answer.json()["errors"])
    assert "hunter" not in answer.text


@pytest.mark.parametrize(
    "query", ["", "?limit=0", "?limit=x", "?limit=1.5", "?limit=" + "9" * 5000]
)
async def test_query_parameters_are_validated(client: httpx2.AsyncClient, query: str) -> None:
    """A missing, small, wordy, broken or enormous number is a 422 of that parameter."""
    answer = await client.get("/list" + query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", "limit"]


@pytest.mark.parametrize("query", ["text=nul", "number=2147483648", "number=9223372036854775808"])
async def test_a_value_that_no_column_holds_is_the_clients(
    settings: Settings, database_url: str, caplog: pytest.LogCaptureFixture, query: str
) -> None:
    """A value that passes a schema and is refused by the database is a 422, not a 500."""
    resources = make_resources(settings, database=database_url)
    async with in_process(create_app(resources, [router])) as client:
        answer = await client.get(f"/database?{query}")
        good = await client.get("/database?text=x")
    await resources.database.close()
    assert (answer.status_code, answer.json()["type"], good.status_code) == (
        422,
        "/problems/invalid",
        200,
    )
    assert "DataError" in caplog.text or "NotInRepertoire" in caplog.text


@pytest.mark.parametrize("path", ["/database", "/broken", "/redis"])
async def test_a_dependency_that_is_away_is_503(client: httpx2.AsyncClient, path: str) -> None:
    """Without a database and Redis, the client is told to try again."""
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "127.0.0.1" not in answer.text
    assert HIDDEN not in answer.text


def declared() -> dict[str, set[int]]:
    """Each slug that answers requests or ends in a record, with the statuses of its errors."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "src/atelier").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
    known = {kind.__name__: status for kind, status in STATUSES.items()} | {"DecodeFailed": 500}

    def status(name: str) -> int | None:
        bases = map(ast.unparse, classes[name].bases if name in classes else ())
        return known.get(name) or next((found for base in bases if (found := status(base))), None)

    lines = [(name, line) for name, node in classes.items() for line in node.body]
    assigned = [(name, line) for name, line in lines if isinstance(line, ast.Assign)]
    named = [(name, ast.unparse(line.targets[0]), line.value) for name, line in assigned]
    pairs = [(name, value) for name, target, value in named if target == "slug"]
    for node in nodes:
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            pairs += [(name, keyword.value) for keyword in node.keywords if keyword.arg == "slug"]
    found: dict[str, set[int]] = {}
    for name, value in pairs:
        if isinstance(value, ast.Constant) and (code := status(name)):
            found.setdefault(value.value, set()).add(code)
    return found


def test_every_slug_has_a_problem_type() -> None:
    """Each slug that a client can meet is in the table, with the status of its answers."""
    found = declared()
    by_status = {slug: {status} for status, slug in OTHERS.items()}
    given_by_position = {"not-processed": {500}}  # by the image processor and the files worker
    found |= by_status | given_by_position
    assert found.keys() == PROBLEM_TYPES.keys()
    answered = {slug: {known.status} for slug, known in PROBLEM_TYPES.items() if known.status}
    assert {slug: found[slug] for slug in answered} == answered


@pytest.mark.parametrize("slug", PROBLEM_TYPES)
async def test_every_problem_type_has_a_page(client: httpx2.AsyncClient, slug: str) -> None:
    """HTML for browsers, JSON and plain text, without a token; each says what the type means."""
    known = PROBLEM_TYPES[slug]
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
    page = await client.get(f"/problems/{slug}", headers={"accept": browser})
    json = "application/json, text/plain, */*"
    data = await client.get(f"/problems/{slug}", headers={"accept": json})
    text = await client.get(f"/problems/{slug}", headers={"accept": "*/*"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    shown = html.unescape(re.sub("<[^>]+>", "", page.text))
    assert known.title in shown
    assert known.description.replace("`", "") in shown
    assert (data.status_code, data.headers["content-type"]) == (200, "application/json")
    assert data.json() == {
        "type": f"/problems/{slug}", "title": known.title, "status": known.status,
        "description": known.description,
    }  # fmt: skip
    assert (text.status_code, text.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert known.description in " ".join(text.text.split())
    assert page.headers["vary"] == data.headers["vary"] == text.headers["vary"] == "Accept"


@pytest.mark.parametrize("path", ["/problems/nothing", "/problems/Not-Found", "/problems"])
async def test_an_unknown_problem_type_is_a_404(client: httpx2.AsyncClient, path: str) -> None:
    """And the type of that answer has a page."""
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


@pytest.mark.parametrize("status", [status for status in HTTPStatus if status >= 400])
async def test_every_type_leads_somewhere(client: httpx2.AsyncClient, status: HTTPStatus) -> None:
    """Whatever status is answered: its type has a page, or says `about:blank`."""
    type_ = (await client.get(f"/http/{status}")).json()["type"]
    assert type_ == "about:blank" or (await client.get(type_)).status_code == 200


async def test_a_page_runs_nothing_and_loads_nothing_else(client: httpx2.AsyncClient) -> None:
    """Its policy allows its own style by its digest, and images of the same host."""
    page = await client.get("/problems/not-found/", headers={"accept": "text/html"})
    style = re.findall("<style>(.*?)</style>", page.text, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in style]
    assert page.headers["content-security-policy"].startswith(
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; img-src 'self';"
    )
    assert "<script" not in page.text
    assert all(link.startswith("/docs") for link in re.findall('(?:href|src)="(.*?)"', page.text))


async def test_a_page_is_not_sent_twice(client: httpx2.AsyncClient) -> None:
    """Its entity tag is that of the form that was asked for."""
    page = await client.get("/problems/invalid", headers={"accept": "text/html"})
    same = {"if-none-match": page.headers["etag"]}
    again = await client.get("/problems/invalid", headers=same | {"accept": "text/html"})
    other = await client.get("/problems/invalid", headers=same)
    assert (again.status_code, other.status_code) == (304, 200)


def test_responses_describe_errors_with_examples() -> None:
    """The helper documents each status with its media type, an example and its headers."""
    described = problems.responses(401, 404, 416)
    assert described.keys() == {401, 404, 416}
    example = described[404]["content"][MEDIA_TYPE]["example"]
    assert example == {
        "type": "/problems/not-found",
        "title": "There is no such thing here",
        "status": 404,
    }
    assert "WWW-Authenticate" in described[401]["headers"]
