"""The one OpenAPI document and the page that shows it."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter
from pydantic import BaseModel

from atelier.http import openapi
from atelier.http.app import create_app
from atelier.http.auth import CurrentUser
from atelier.http.paging import Page
from atelier.http.problems import responses
from atelier.settings import Settings
from tests.http.support import in_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from atelier.http.resources import Resources

router = APIRouter(prefix="/api/books", tags=["books"])


class Book(BaseModel):
    """A book."""

    title: str


@router.get("", responses=responses(401, 422))
async def list_(user: CurrentUser, page: Page) -> list[Book]:
    """All books."""
    raise NotImplementedError


@router.post("", status_code=201)
@router.post("/old", status_code=201, deprecated=True)
async def create(user: CurrentUser, book: Book) -> Book:
    """Add a book.

    It is there for `everybody`.

    At once.
    """
    return book


@router.get("/public/{book_id}")
async def public(book_id: int) -> Book:
    """For everybody."""
    raise NotImplementedError


def part() -> dict[str, Any]:
    """The document of another part."""
    return {
        "openapi": "3.0.3",
        "security": [{"bearer": []}],
        "tags": [{"name": "files", "description": "Theirs."}],
        "paths": {
            "/api/files": {
                "get": {"operationId": "files.list", "tags": ["files"], "responses": {"200": {}}}
            }
        },
        "components": {"schemas": {"File": {"type": "object"}}},
    }


@pytest.fixture
async def client(resources: Resources) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application of two parts."""
    async with in_process(create_app(resources, [router], parts=[part])) as client:
        yield client


@pytest.fixture
async def document(client: httpx2.AsyncClient) -> dict[str, Any]:
    """The document as it is served."""
    answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


async def test_what_the_document_says_of_itself(document: dict[str, Any]) -> None:
    """Version, licence, a relative server, and the tags in use with their descriptions."""
    assert document["openapi"].startswith("3.1")
    assert document["info"]["license"] == {"name": "MIT", "identifier": "MIT"}
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", document["info"]["version"])
    assert document["servers"] == [{"url": "/"}]
    assert [tag["name"] for tag in document["tags"]] == ["files", "books", "health"]
    assert all(tag["description"] for tag in document["tags"])


async def test_every_operation_says_its_security(document: dict[str, Any]) -> None:
    """A bearer token or a browser's session, or none in so many words."""
    security = {name: operation["security"] for name, operation in openapi.operations(document)}
    either = [{"bearer": []}, {"session": []}]
    assert security == {
        "get /api/books": either, "post /api/books": either,
        "post /api/books/old": either,
        "get /api/books/public/{book_id}": [], "get /api/files": either,
        "get /healthz": [], "get /readyz": [], "get /metrics": [],
    }  # fmt: skip


async def test_the_first_line_of_a_description_is_the_summary(document: dict[str, Any]) -> None:
    """The paragraph below is the description; without one the sentence is both."""
    create = document["paths"]["/api/books"]["post"]
    assert create["summary"] == "Add a book"
    assert create["description"] == "It is there for `everybody`.\n\nAt once."
    public = document["paths"]["/api/books/public/{book_id}"]["get"]
    assert (public["summary"], public["description"]) == ("For everybody", "For everybody.")


async def test_operation_ids_read_well_and_are_unique(document: dict[str, Any]) -> None:
    """Tag and function; a second path of one function is numbered."""
    ids = {name: operation["operationId"] for name, operation in openapi.operations(document)}
    assert ids["get /api/books"] == "books.list"
    assert {ids["post /api/books"], ids["post /api/books/old"]} == {
        "books.create",
        "books.create.2",
    }
    assert len(set(ids.values())) == len(ids)


async def test_errors_are_problems(document: dict[str, Any]) -> None:
    """Every error of every operation is problem+json; FastAPI's own shape of a 422 is nowhere."""
    for name, operation in openapi.operations(document):
        assert "default" in operation["responses"], name
        for status, answer in operation["responses"].items():
            if status >= "4":
                assert list(answer["content"]) == ["application/problem+json"], (name, status)
    create = document["paths"]["/api/books"]["post"]["responses"]
    assert {"201", "400", "401", "413", "415", "422", "500", "default"} == create.keys()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert document["components"]["schemas"]["Problem"]["required"] == ["type", "title", "status"]


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """No dangling $ref."""
    for reference in re.findall(r"'\$ref': '#/([^']+)'", str(document)):
        found: Any = document
        for step in reference.split("/"):
            found = found[step]


async def test_bounds_of_integers_are_integers(document: dict[str, Any]) -> None:
    """No 1.0 and 500.0."""
    (limit,) = [
        p for p in document["paths"]["/api/books"]["get"]["parameters"] if p["name"] == "limit"
    ]
    assert str(limit["schema"]["maximum"]) == "500"


def test_a_limit_that_is_a_setting_is_shown_as_it_is_set() -> None:
    """`x-limit` becomes the length that the instance really takes, wherever the text stands."""
    schema: dict[str, Any] = {
        "anyOf": [{"type": "string", "maxLength": 9, "x-limit": "description_limit"}]
    }
    openapi.limit(schema, Settings(description_limit=77))
    assert schema == {"anyOf": [{"type": "string", "maxLength": 77}]}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"paths": {"/api/books": {"get": {"operationId": "x"}}}}, "/api/books"),
        ({"paths": {"/x": {"get": {"operationId": "books.list"}}}}, "books.list"),
        ({"components": {"schemas": {"Book": {"type": "string"}}}}, "Book"),
    ],
)
async def test_parts_must_not_contradict(
    document: dict[str, Any], change: dict[str, Any], complaint: str
) -> None:
    """The same path, id or component described twice is an error."""
    with pytest.raises(ValueError, match=complaint):
        openapi.merge(document, change)


class References(HTMLParser):
    """Everything that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element."""
        values = dict(attrs)
        self.found += [value for name, value in attrs if name in {"src", "href"} and value]
        self.inline += (
            tag == "style" or (tag == "script" and "src" not in values) or "style" in values
        )


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
async def test_the_page_needs_no_other_host(client: httpx2.AsyncClient, path: str) -> None:
    """All it loads is here, nothing is inline, and its policy forbids the rest."""
    page = await client.get(path)
    references = References()
    references.feed(page.text)
    assert len(references.found) == 4
    assert not references.inline
    for reference in references.found:
        assert reference.startswith("/docs/")
        assert (await client.get(reference)).status_code == 200
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy


async def test_the_page_asks_no_validator(client: httpx2.AsyncClient) -> None:
    """Swagger UI would show the document to validator.swagger.io, were it not told otherwise."""
    script = (await client.get("/docs/start.js")).text
    assert "validatorUrl: null" in script
    assert 'url: "/openapi.json"' in script
    assert re.findall(r"//[\w.]+", script) == []  # comments begin with a blank


@pytest.mark.parametrize(
    "name", ["nothing.js", "swagger-ui.css.map", "..%2f__init__.py", "%2e%2e/__init__.py"]
)
async def test_only_named_files_are_served(client: httpx2.AsyncClient, name: str) -> None:
    """Neither other files of the package nor anything above them."""
    assert (await client.get(f"/docs/{name}")).status_code in {404, 422}


async def test_the_document_is_not_sent_twice(client: httpx2.AsyncClient) -> None:
    """A browser that has it is told so."""
    tag = (await client.get("/openapi.json")).headers["etag"]
    assert (await client.get("/openapi.json", headers={"if-none-match": tag})).status_code == 304


async def test_the_page_imports_no_django(client: httpx2.AsyncClient) -> None:
    """The package that holds the files is a Django application; only its files are used."""
    await client.get("/docs/swagger-ui.css")
    assert "drf_spectacular_sidecar" not in sys.modules
