"""The export of tasks over HTTP: parse, judge, stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from atelier.auth import Principal, Right, in_space
from atelier.errors import NotFound
from atelier.http.download import Download
from atelier.http.exporting import SLICE, Standing, filename, placed
from atelier.http.problems import responses
from atelier.http.resources import Res, Resources
from atelier.http.spaces import Space
from atelier.http.strict import Decimal, Moment
from atelier.tasks import queues
from atelier.tasks.export import Wanted, batches
from atelier.tasks.export_formats import Csv, Format, JsonLines, Writer
from atelier.tasks.pools import QUEUE, SPACE, Pool
from atelier.tasks.records import MISSING, State
from atelier.tasks.routes import QueueFilter, Viewer
from atelier.wire.complaints import refused
from atelier.wire.spaces import MAX_ID

router = APIRouter(tags=["tasks"])
Person = Annotated[
    Annotated[int, Field(ge=1, le=MAX_ID), Decimal] | None,
    Query(description="Only tasks that this user completed.", examples=[7]),
]
From = Annotated[
    Moment | None,
    Query(alias="from", description="Only tasks completed at this time or later."),
]
To = Annotated[
    Moment | None, Query(alias="to", description="Only tasks completed before this time.")
]
As = Annotated[Format, Query(description="CSV, or one JSON record on each line.")]
Bom = Annotated[
    bool, Query(description="Begin a CSV with a byte order mark, which Excel needs for UTF-8.")
]
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The tasks, lowest `id` first.",
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            JsonLines.media_type: {"schema": {"type": "string"}},
        },
    }
}


@router.get(
    "/api/tasks/export",
    response_class=Response,
    responses=_STREAMED | responses(401, 404, 422, 429, 503),
)
async def export(
    request: Request,
    user: Viewer,
    res: Res,
    format: As = Format.CSV,  # noqa: A002 - the parameter's name
    queue: QueueFilter = None,
    state: Annotated[State | None, Query(description="Only tasks in this state.")] = None,
    by: Person = None,
    since: From = None,
    until: To = None,
    bom: Bom = False,
    space: Space = None,
) -> Response:
    """Download tasks with their answers.

    All of a space or a queue, lowest `id` first, as CSV or JSON Lines. With a queue that has a
    form the CSV has a column for each of its fields. What fails on the way ends the connection
    without the end of the answer, and so does the end of the credential.
    """
    if bom and format is not Format.CSV:
        raise refused("Only CSV begins with one", "query", "bom")
    space_id, found = await _place(res, user, space, queue)
    pool = Pool(SPACE, space_id) if queue is None else Pool(QUEUE, queue)
    fields = _fields(found and found["form"])
    writer = Csv(fields, bom=bom) if format is Format.CSV else JsonLines()
    pieces = _pieces(request, res, space_id, Wanted(pool, state, by, since, until), writer)
    name = found["name"] if found else f"tasks-{space_id}"
    return Download(placed(user, pieces), writer.media_type, filename(name, "tasks", format))


async def _place(
    res: Resources, user: Principal, space: int | None, queue: int | None
) -> tuple[int, Any]:
    """The space, and the queue if one is named. Raises NotFound and NotAllowed."""
    if queue is None:
        return in_space(user, space, Right.TASKS_READ), None
    found = await queues.find(res.database.fetchrow, user, queue, Right.TASKS_READ)
    if space not in (None, found["space_id"]):
        raise NotFound(queues.NO_QUEUE)
    return found["space_id"], found


def _fields(form: str | None) -> list[str] | None:
    return None if form is None else [field["name"] for field in orjson.loads(form)["fields"]]


async def _pieces(
    request: Request, res: Resources, space_id: int, wanted: Wanted, writer: Writer
) -> AsyncGenerator[bytes, None]:
    """The lines, a few at a time; others have their turn in between.

    The caller's right is looked at now and then. Raises Unauthenticated, NotFound and NotAllowed.
    """
    lines, standing = writer.head, Standing(request, res, space_id, Right.TASKS_READ)
    async with aclosing(batches(res.database, wanted, writer.columns)) as found:
        async for rows in found:
            for start in range(0, len(rows), SLICE):
                await standing.check(MISSING)
                yield lines + writer.lines(rows[start : start + SLICE])
                lines = b""
                await asyncio.sleep(0)
    yield lines
