"""Errors as problem+json: every kind, validation, unknown paths, and what never leaves."""

# ruff: noqa: TC001 - FastAPI evaluates the annotations of routes

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pytest
from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict

from atelier import errors
from atelier.http import problems
from atelier.http.app import create_app
from atelier.http.resources import Res
from atelier.problems import OTHERS, STATUSES
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
    """Nobody's fault but ours."""

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
    await res.database.fetchrow("SELECT $1::text, $2::int", text + "\0" if text == "nul" else text, number)


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
        "type": f"/problems/{kind.slug}", "title": kind().title, "status": status, "detail": "Because.",
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
    [(404, "not-found"), (406, "not-acceptable"), (409, "conflict"), (500, "internal-error"), (418, "i'm-a-teapot")],
)
async def test_the_frameworks_errors_are_problems_too(client: httpx2.AsyncClient, status: int, slug: str) -> None:
    """Whoever raises an HTTPException, its answer has our shape."""
    answer = await client.get(f"/http/{status}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPE)
    assert answer.json()["type"] == f"/problems/{slug}"
    assert "detail" not in answer.json()


async def test_an_unknown_path_is_a_problem(client: httpx2.AsyncClient) -> None:
    """404 for what nobody serves."""
    answer = await client.get("/nothing/here")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_a_wrong_method_names_the_right_ones(client: httpx2.AsyncClient) -> None:
    """405 lists the methods of every route of the path, HEAD included."""
    answer = await client.put("/list")
    assert (answer.status_code, answer.json()["type"]) == (405, "/problems/method-not-allowed")
    assert answer.headers["allow"] == "DELETE, GET, HEAD"


async def test_validation_names_places_and_repeats_no_values(client: httpx2.AsyncClient) -> None:
    """422 says where and why; a password in the wrong field is not sent back."""
    answer = await client.post("/login", json={"password": "hunter2", "count": True, "extra": "hunter3"})
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


@pytest.mark.parametrize("query", ["", "?limit=0", "?limit=x", "?limit=1.5", "?limit=" + "9" * 5000])
async def test_query_parameters_are_validated(client: httpx2.AsyncClient, query: str) -> None:
    """A missing, small, wordy, broken or enormous number is a 422 of that parameter."""
    answer = await client.get("/list" + query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", "limit"]


@pytest.mark.parametrize("query", ["text=nul", "number=2147483648", "number=9223372036854775808"])
async def test_a_value_that_no_column_holds_is_the_clients(
    settings: Settings, database_url: str, caplog: pytest.LogCaptureFixture, query: str
) -> None:
    """What slips past a schema and is refused by the database is a 422, not a 500."""
    resources = make_resources(settings, database=database_url)
    async with in_process(create_app(resources, [router])) as client:
        answer = await client.get(f"/database?{query}")
        good = await client.get("/database?text=x")
    await resources.database.close()
    assert (answer.status_code, answer.json()["type"], good.status_code) == (422, "/problems/invalid", 200)
    assert "DataError" in caplog.text or "NotInRepertoire" in caplog.text


@pytest.mark.parametrize("path", ["/database", "/redis"])
async def test_a_dependency_that_is_away_is_503(client: httpx2.AsyncClient, path: str) -> None:
    """Nobody listens where the database and Redis should be: the client may try again."""
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "127.0.0.1" not in answer.text


def slugs(*, kinds: bool = True) -> set[str]:
    """Every slug that the code of the API can send; without `kinds` those alone that an error brings of its own."""
    found = {slug for slug, _ in OTHERS.values()} if kinds else set()
    folders = ("accounts", "images", "books", "tasks", "files", "http", "imaging")
    sources = [path for name in folders for path in (ROOT / "src/atelier" / name).rglob("*.py")]
    for path in [*sources, ROOT / "src/atelier/errors.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            keyword = isinstance(node, ast.keyword) and node.arg == "slug"
            attribute = kinds and isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "slug"
            value = getattr(node, "value", None) if keyword or attribute else None
            if isinstance(value, ast.Constant):
                found.add(value.value)
    return (found | {"not-processed"}) - {errors.AtelierError.slug}  # which the processor gives by position


def test_every_slug_has_a_title() -> None:
    """A kind's is its docstring; a slug that an error brings of its own has one of its own, not the kind's."""
    assert slugs(kinds=False) == errors.TITLES.keys()


def test_every_slug_is_documented() -> None:
    """docs/reference/errors.md has a heading for each slug, and for no other."""
    headings = re.findall(r"^### ([a-z-]+)$", (ROOT / "docs/reference/errors.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(slugs())


def test_responses_describe_errors_with_examples() -> None:
    """The helper gives OpenAPI each status with its media type, an example and the headers that come with it."""
    described = problems.responses(401, 404, 416)
    assert described.keys() == {401, 404, 416}
    example = described[404]["content"][MEDIA_TYPE]["example"]
    assert example == {"type": "/problems/not-found", "title": "There is no such thing here", "status": 404}
    assert "WWW-Authenticate" in described[401]["headers"]
