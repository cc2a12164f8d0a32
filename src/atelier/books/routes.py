"""Books over HTTP: parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right
from atelier.books import queries, service
from atelier.books.dates import shown
from atelier.books.models import Book
from atelier.books.records import record
from atelier.books.schemas import BookChange, BookDetails, BookRecord
from atelier.http.auth import Needs
from atelier.http.conditional import if_match, record_response
from atelier.http.encoding import dumps
from atelier.http.idempotency import Key, once
from atelier.http.json import json_response
from atelier.http.paging import Page, page_response
from atelier.http.problems import responses
from atelier.http.resources import Res
from atelier.http.shortcuts import Shortcut
from atelier.http.strict import Decimal, normal
from atelier.wire.idempotency import fingerprint, scope
from atelier.wire.preconditions import ON_MATCH, SAME, UNLESS_SAME
from atelier.wire.texts import LINE_LIMIT

CREATE = "POST /api/books"
FIRST_TAG = "1"  # of a new book

router = APIRouter(prefix="/api/books", tags=["books"])
Id = Annotated[
    int, Field(ge=1, le=queries.MAX_ID), Decimal, Path(description="The book.", examples=[42])
]
Viewer = Annotated[Principal, Depends(Needs(Right.BOOKS_READ))]
Editor = Annotated[Principal, Depends(Needs(Right.BOOKS_WRITE))]
Filter = Annotated[
    str,
    normal(LINE_LIMIT),
    Query(max_length=LINE_LIMIT, description="Only books with this in it, whatever the case."),
]


@router.get(
    "/{book_id}",
    response_model=BookRecord,
    responses=SAME | responses(401, 404, 422),
    openapi_extra=UNLESS_SAME,
)
async def read(request: Request, book_id: Id, user: Viewer, res: Res) -> Response:
    """Get a book.

    Title, author and date of publication.
    """
    book = await queries.find(res.database, res.cache, book_id, seconds=res.settings.cache_seconds)
    return record_response(request, book.record, book.etag)


@router.get("", response_model=list[BookRecord], responses=responses(401, 422, 429, 503))
async def index(
    user: Viewer,
    res: Res,
    page: Page,
    author: Filter = "",
    title: Filter = "",
) -> Response:
    """List the books.

    The catalogue that all users share, newest first, in pages.
    """
    filters = queries.Filters(author=author, title=title)
    rows = await queries.page(
        res.database, filters, person=user.user_id, before=page.before, limit=page.fetch
    )
    return page_response(page, [record(row) for row in rows])


@router.post(
    "",
    status_code=201,
    response_model=BookRecord,
    responses=responses(400, 401, 409, 415, 422, 503),
)
async def create(body: BookDetails, user: Editor, res: Res, key: Key = None) -> Response:
    """Add a book.

    Every user may add, change and delete books; where the setting `books_by` says so,
    administrators alone may (403).
    """
    details = service.Details(body.title, body.author, body.publication_date)
    if key is None:
        return _created(await service.create(res.database, details), details)
    mark = fingerprint(body.title, body.author, body.publication_date)
    hours = res.settings.idempotency_hours
    async with once(res.database, scope(user.user_id, CREATE), key, mark, hours=hours) as run:
        if run.replay:
            return run.replay

        async def keep(session: AsyncSession, book_id: int) -> None:
            await run.keep(session, _created(book_id, details))

        await service.create_once(res.database, details, keep)
        return run.answer


@router.put(
    "/{book_id}",
    response_model=BookRecord,
    responses=responses(400, 401, 404, 412, 415, 422, 503),
    openapi_extra=ON_MATCH,
)
async def replace(
    request: Request,
    book_id: Id,
    body: BookDetails,
    user: Editor,
    res: Res,
) -> Response:
    """Replace the details of a book.

    Title, author and date of publication, all three. Who may is the setting `books_by`.
    """
    book = await service.change(
        res.database, res.cache, book_id, expected=if_match(request), **body.model_dump()
    )
    return record_response(request, _changed(book), str(book.sequence))


@router.patch(
    "/{book_id}",
    response_model=BookRecord,
    responses=responses(400, 401, 404, 412, 415, 422, 503),
    openapi_extra=ON_MATCH,
)
async def change(
    request: Request,
    book_id: Id,
    body: BookChange,
    user: Editor,
    res: Res,
) -> Response:
    """Change the details of a book.

    What is left out stays. Who may is the setting `books_by`.
    """
    book = await service.change(
        res.database, res.cache, book_id, expected=if_match(request), **body.model_dump()
    )
    return record_response(request, _changed(book), str(book.sequence))


@router.delete(
    "/{book_id}",
    status_code=204,
    responses=responses(400, 401, 404, 412, 422, 503),
    openapi_extra=ON_MATCH,
)
async def delete(request: Request, book_id: Id, user: Editor, res: Res) -> Response:
    """Delete a book.

    It is deleted for all users. Who may is the setting `books_by`.
    """
    await service.delete(res.database, res.cache, book_id, expected=if_match(request))
    return Response(status_code=204)


def _created(book_id: int, details: service.Details) -> Response:
    body = _json(book_id, details.title, details.author, details.publication_date)
    return json_response(
        body, 201, {"Location": f"/api/books/{book_id}", "ETag": f'"{FIRST_TAG}"'}
    )


def _changed(book: Book) -> bytes:
    published = shown(book.publication_date, book.publication_precision)
    return _json(book.id, book.title, book.author, published)


def _json(book_id: int, title: str, author: str, publication_date: str) -> bytes:
    fields: dict[str, Any] = {
        "id": book_id,
        "title": title,
        "author": author,
        "publication_date": publication_date,
    }
    return dumps(fields)


SHORTCUTS = (Shortcut("/api/books/{book_id}", read, Right.BOOKS_READ),)
