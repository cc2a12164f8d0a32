"""The log of events over HTTP: a stream, or pages of JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from atelier.errors import NotFound
from atelier.events.visible import Audience, Filters, Page, page
from atelier.http.auth import CurrentUser
from atelier.http.event_stream import MEDIA_TYPE, EventStream
from atelier.http.json import json_response
from atelier.http.paging import Limit
from atelier.http.problems import responses
from atelier.http.resources import Res
from atelier.http.strict import Decimal
from atelier.wire.negotiation import preferred
from atelier.wire.paging import DEFAULT_LIMIT
from atelier.wire.spaces import MAX_ID

JSON = "application/json"
SUBJECT_PATTERN = r"^[a-z]{1,20}/[0-9]{1,19}$"
TYPE_PATTERN = r"^[a-z]{1,20}\.(\*|[a-z_]{1,20})$"
EXAMPLE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "739bf662-c0d9-493a-a80d-31b6db314a79",
    "source": "/atelier",
    "type": "image.processed",
    "subject": "images/42",
    "time": "2026-11-21T06:16:58.820Z",
    "datacontenttype": "application/json",
    "sequence": 2,
    "data": {"id": 42, "status": "ready"},
    "space": 7,
}

NAME_CHARACTERS = 100  # of a subject or a type

router = APIRouter(prefix="/api/events", tags=["events"])

Position = Annotated[int, Field(ge=0, le=MAX_ID), Decimal]
After = Annotated[
    Position | None,
    Query(description="A position of the log; what comes after it is given.", examples=[1041]),
]
LastEventId = Annotated[
    Position | None,
    Header(
        alias="Last-Event-ID",
        description="The same, as browsers send it when a stream broke off. It wins.",
    ),
]
Space = Annotated[
    Annotated[int, Field(ge=1, le=MAX_ID), Decimal] | None,
    Query(description="Events of this space alone.", examples=[7]),
]
Subject = Annotated[
    Annotated[str, Field(pattern=SUBJECT_PATTERN, max_length=NAME_CHARACTERS)] | None,
    Query(description="Events of one thing alone.", examples=["images/42"]),
]
Type = Annotated[
    Annotated[str, Field(pattern=TYPE_PATTERN, max_length=NAME_CHARACTERS)] | None,
    Query(description="Events of this type, or of this family, alone.", examples=["image.*"]),
]


class CloudEvent(BaseModel):
    """A CloudEvent 1.0 in its structured JSON; `sequence` counts the events of its subject."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: str
    sequence: int
    data: dict[str, Any]
    actor: str | None = Field(None, description="Who did it: `users/7` or `keys/3`.")
    space: int | None = Field(None, description="The space of the subject.")
    traceparent: str | None = None


class EventPage(BaseModel):
    """Events in the order of the log, and the position to ask on from."""

    events: list[CloudEvent]
    position: int = Field(examples=[1043])


_STREAM: dict[str, Any] = {
    "description": "The events: a stream, or a page in JSON.",
    "content": {
        MEDIA_TYPE: {
            "schema": {"type": "string", "description": "Server-sent events, without an end."},
            "example": 'retry: 2000\nid: 1041\n\nid: 1042\ndata: {"specversion":"1.0"}\n\n',
        }
    },
}


@router.get(
    "",
    response_model=EventPage,
    responses=responses(401, 404, 406, 410, 422, 429, 503) | {200: _STREAM},
)
async def index(
    request: Request,
    user: CurrentUser,
    res: Res,
    after: After = None,
    last_event_id: LastEventId = None,
    space: Space = None,
    subject: Subject = None,
    type: Type = None,  # noqa: A002 - CloudEvents' name
    limit: Limit = DEFAULT_LIMIT,
) -> Response:
    """Follow what happens.

    The events that I may see: of things in my spaces, of books, of my account. As a stream
    (`text/event-stream`) from now on or after a position: each event has its position as `id`,
    the CloudEvent as `data`. An event named `reset` says that the log no longer holds what comes
    next, and where the stream goes on: read anew what you keep a copy of. With `Accept:
    application/json` a page of up to `limit` events after a position; ask on from its `position`,
    also when it has no event. Without a position the page is empty and says where the log is now;
    with `subject` it is the history of that thing, oldest first.
    """
    if space is not None and space not in user.roles:
        raise NotFound("There is no such space.")
    form = preferred(request.headers.get("accept"), (MEDIA_TYPE, JSON))
    if form is None:
        raise HTTPException(406, f"There are {MEDIA_TYPE} and {JSON}.")
    position = after if last_event_id is None else last_event_id
    filters = Filters(space, subject, type)
    if form == MEDIA_TYPE:
        return EventStream(res, user, filters, position)
    return _shown(await page(res.database, Audience.of(user, filters), position, limit))


def _shown(found: Page) -> Response:
    """The page, of events that are JSON already."""
    documents = b",".join(entry.document for entry in found.entries)
    body = b'{"events":[%b],"position":%d}' % (documents, found.position)
    return json_response(body, headers={"Cache-Control": "no-store", "Vary": "Accept"})
