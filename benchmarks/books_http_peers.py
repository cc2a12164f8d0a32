"""The HTTP servers that `benchmarks/books.py` compares: bare ASGI, and a typical catalogue.

The latter is FastAPI with PyJWT, the ORM, response_model and OFFSET. Arguments: bare|typical PORT
DATABASE_URL SECRET.
"""

# No `from __future__ import annotations`: FastAPI could not see what the annotations of nested
# functions name.

import sys
from collections.abc import AsyncIterator
from datetime import date
from typing import Annotated, Any

import jwt
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel
from sqlalchemy import make_url, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from starlette.types import ASGIApp, Receive, Scope, Send

from atelier.books.models import Book
from atelier.events import outbox
from atelier.roles import freeze

BODY = b'{"id":1,"title":"Title 1","author":"Author 1","publication_date":"1800-01-02"}'


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing but ASGI."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        return
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


class Details(BaseModel):
    """The request's body."""

    title: str
    author: str
    publication_date: date


class Record(Details):
    """The answer's body."""

    id: int


def typical(url: str, secret: str) -> ASGIApp:
    """Create, read, list."""
    app = FastAPI()
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    sessions = async_sessionmaker(engine, expire_on_commit=False)

    async def session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    async def user(authorization: Annotated[str, Header()]) -> int:
        try:
            claims = jwt.decode(
                authorization.removeprefix("Bearer "), secret, ["HS256"], audience="atelier-api"
            )
        except jwt.PyJWTError as error:
            raise HTTPException(401) from error
        return int(claims["sub"])

    User = Annotated[int, Depends(user)]  # noqa: N806 - a type
    Session = Annotated[AsyncSession, Depends(session)]  # noqa: N806 - as above

    @app.get("/api/books/{book_id}", response_model=Record)
    async def one(book_id: int, _: User, session: Session) -> Any:
        if book := await session.get(Book, book_id):
            return book
        raise HTTPException(404)

    @app.get("/api/books", response_model=list[Record])
    async def many(_: User, session: Session, offset: int = 0) -> Any:
        return list(
            await session.scalars(select(Book).order_by(Book.id.desc()).limit(50).offset(offset))
        )

    @app.post("/api/books", response_model=Record, status_code=201)
    async def create(details: Details, _: User, session: Session) -> Any:
        folded = {
            "title_folded": details.title.casefold(),
            "author_folded": details.author.casefold(),
        }
        book = Book(**details.model_dump(), **folded, sequence=1)
        session.add(book)
        await session.flush()
        outbox.record(
            session, "book.created", f"books/{book.id}", 1, details.model_dump(mode="json")
        )
        await session.commit()
        return book

    return app


if __name__ == "__main__":
    kind, port, url, secret = sys.argv[1:5]
    app = bare if kind == "bare" else typical(url, secret)
    freeze()
    uvicorn.run(app, port=int(port), log_config=None, access_log=False)
