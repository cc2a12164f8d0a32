"""The servers that `benchmarks/http_requests.py` compares, one each: NAME PORT FOLDER."""

# No `from __future__ import annotations`: FastAPI could not see what the annotations of nested
# functions name.

import hashlib
import json
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import jwt
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel
from redis.asyncio import Redis
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from atelier.http.upload import receive
from atelier.images.models import Image
from atelier.observe import logs
from atelier.roles import api, freeze
from atelier.settings import Settings

BODY = b'{"id":1,"title":"' + b"x" * 600 + b'"}'  # as long as the record of an image
SECRET = "s" * 32


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing but ASGI."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def starlette() -> ASGIApp:
    """One route of Starlette."""

    async def record(_: Request) -> Response:
        return Response(BODY, media_type="application/json")

    return Starlette(routes=[Route("/record", record)])


def fastapi() -> ASGIApp:
    """One route of FastAPI that returns bytes."""
    app = FastAPI()

    @app.get("/record")
    async def record() -> Response:
        return Response(BODY, media_type="application/json")

    return app


class Record(BaseModel):
    """The model that the typical service validates on its way out."""

    id: int
    title: str
    description: str
    tags: list[str]
    format: str
    width: int
    height: int
    size: int
    sha256: str
    status: str
    details: dict[str, Any]
    renditions: list[dict[str, Any]]
    received_at: datetime
    updated_at: datetime


def typical() -> ASGIApp:
    """A typical service: FastAPI, PyJWT, the ORM, response_model, a Redis cache, FileResponse."""
    app = FastAPI()
    engine = create_async_engine(
        make_url(os.environ["BENCH_DATABASE"]).set(drivername="postgresql+asyncpg")
    )
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    redis = Redis.from_url(os.environ["BENCH_REDIS"])

    async def session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    async def user(authorization: Annotated[str, Header()]) -> int:
        try:
            claims = jwt.decode(
                authorization.removeprefix("Bearer "), SECRET, ["HS256"], audience="atelier-api"
            )
        except jwt.PyJWTError as error:
            raise HTTPException(401) from error
        return int(claims["sub"])

    @app.get("/images/{image_id}", response_model=Record)
    async def one(
        image_id: int,
        owner: Annotated[int, Depends(user)],
        session: Annotated[AsyncSession, Depends(session)],
    ) -> Image:
        image = await session.get(Image, image_id)
        if image is None or image.owner_id != owner:
            raise HTTPException(404)
        return image

    @app.get("/cached/{image_id}", response_model=Record)
    async def cached(
        image_id: int,
        owner: Annotated[int, Depends(user)],
        session: Annotated[AsyncSession, Depends(session)],
    ) -> Any:
        if found := await redis.get(f"bench:{owner}:{image_id}"):
            return json.loads(found)
        image = Record.model_validate(await one(image_id, owner, session), from_attributes=True)
        await redis.set(f"bench:{owner}:{image_id}", image.model_dump_json(), ex=300)
        return image

    @app.get("/images", response_model=list[Record])
    async def many(
        owner: Annotated[int, Depends(user)], session: Annotated[AsyncSession, Depends(session)]
    ) -> list[Image]:
        from sqlalchemy import select

        query = select(Image).where(Image.owner_id == owner).order_by(Image.id.desc()).limit(50)
        return list(await session.scalars(query))

    @app.get("/file")
    async def file(_: Annotated[int, Depends(user)]) -> FileResponse:
        return FileResponse(os.environ["BENCH_PICTURE"])

    return app


def raw(folder: str) -> ASGIApp:
    """A body that is written and hashed as it comes: what an upload costs at least."""

    async def put(request: Request) -> Response:
        digest = hashlib.sha256()
        path = Path(folder, secrets.token_hex(16))
        with path.open("wb") as file:
            async for chunk in request.stream():
                digest.update(chunk)
                file.write(chunk)
        path.unlink()
        return Response(digest.hexdigest())

    return Starlette(routes=[Route("/raw", put, methods=["POST"])])


def multipart(folder: str) -> ASGIApp:
    """The same by our reader of multipart bodies, in the same framework."""
    settings = Settings(data=Path(folder))

    async def put(request: Request) -> Response:
        async with receive(request, settings) as upload:
            if isinstance(upload.file.content, bytes):
                path = Path(folder, secrets.token_hex(16))
                path.write_bytes(upload.file.content)
                path.unlink()
            return Response(upload.file.sha256)

    return Starlette(routes=[Route("/multipart", put, methods=["POST"])])


def atelier(folder: str) -> ASGIApp:
    """The API as its role starts it, log files included."""
    settings = Settings(
        data=Path(folder), database_url=os.environ["BENCH_DATABASE"],
        redis_url=os.environ["BENCH_REDIS"],
        secret=SECRET, log_level=os.environ.get("BENCH_LOG", "INFO"), queue_limit=1_000_000,
    )  # fmt: skip
    logs.setup("api", settings)
    return api.build(settings)


def main(name: str, port: int, folder: str) -> None:
    """Serve one of them until killed."""
    Path(folder).mkdir(exist_ok=True)
    peers = {"starlette": starlette, "fastapi": fastapi, "typical": typical}
    ours = {"atelier": atelier, "raw": raw, "multipart": multipart}
    app = bare if name == "bare" else ours[name](folder) if name in ours else peers[name]()
    freeze()
    listener = socket.create_server(("127.0.0.1", port), backlog=256)
    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run([listener])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
