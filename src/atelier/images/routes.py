"""Pictures over HTTP: parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Principal, Right, in_space
from atelier.errors import Unavailable
from atelier.events import offers
from atelier.http import allowance
from atelier.http.auth import Needs
from atelier.http.conditional import if_match, record_response
from atelier.http.encoding import dumps
from atelier.http.idempotency import Key, Run, once
from atelier.http.json import json_response
from atelier.http.paging import Page
from atelier.http.problems import responses
from atelier.http.resources import Res, Resources
from atelier.http.shortcuts import Shortcut
from atelier.http.spaces import Space
from atelier.http.strict import Decimal
from atelier.http.upload import receive
from atelier.images import deleting, jobs, pictures, queries, service, texts
from atelier.images.filtering import Wanted
from atelier.images.models import Image
from atelier.images.records import Cached, record, row_of
from atelier.images.schemas import (
    ImageChange,
    ImageForm,
    ImageRecord,
    ImageReplacement,
    UploadedImage,
)
from atelier.settings import Settings
from atelier.wire.complaints import TWICE, refused
from atelier.wire.idempotency import fingerprint, scope
from atelier.wire.multipart import Upload
from atelier.wire.preconditions import IN_PART, ON_MATCH, SAME, UNLESS_SAME

NAME = "^[0-9a-z]+$"  # of a rendition
FILE_PARTS = ("file", "image")  # the part of an upload that holds the picture
UPLOADS = ("/api/images",)  # paths to which pictures are posted
UPLOAD = "POST /api/images"
# Jobs that may carry their pictures: at 1 MiB each a backlog would fill the engine's memory
INLINE_DEPTH = 100
FULL_RETRY_SECONDS = 5  # a full queue moves by hundreds in that time

router = APIRouter(prefix="/api/images", tags=["images"])
Id = Annotated[
    int, Field(ge=1, le=2**63 - 1), Decimal, Path(description="The image.", examples=[42])
]

Viewer = Annotated[Principal, Depends(Needs(Right.IMAGES_READ))]
Editor = Annotated[Principal, Depends(Needs(Right.IMAGES_WRITE))]

LISTED = responses(401, 403, 404, 422, 429, 503)
PICTURE: dict[int | str, dict[str, Any]] = SAME | {
    200: {
        "description": "The picture.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    206: {"description": "The part of the picture that Range asked for."},
}
FORM = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": ImageForm.model_json_schema()}},
    }
}


@router.get(
    "/{image_id}/info",
    response_model=ImageRecord,
    responses=SAME | responses(401, 404, 422),
    openapi_extra=UNLESS_SAME,
)
async def info(request: Request, image_id: Id, user: Viewer, res: Res) -> Response:
    """Get the record of a picture.

    Title, description, tags, size, metadata, and its renditions once it has been processed.
    """
    image = await _find(res, user, image_id)
    return record_response(request, image.record, image.etag)


@router.get(
    "/{image_id}",
    response_class=Response,
    responses=PICTURE | responses(400, 401, 404, 412, 416, 422),
    openapi_extra=IN_PART,
)
async def picture(request: Request, image_id: Id, user: Viewer, res: Res) -> Response:
    """Get a picture.

    The processed picture itself: captioned if it has a description, else upright.
    """
    image = await _find(res, user, image_id)
    return await pictures.respond(request, res, image, pictures.favourite(image))


@router.get(
    "/{image_id}/renditions/{name}",
    response_class=Response,
    responses=PICTURE | responses(400, 401, 404, 412, 416, 422),
    openapi_extra=IN_PART,
)
async def rendition(
    request: Request,
    image_id: Id,
    name: Annotated[
        str,
        Path(
            max_length=50,
            json_schema_extra={"pattern": NAME},  # said, not enforced: any other name is a 404
            description=(
                "A name in the record's `renditions`, or `original`: the sizes of the settings, "
                "`gray`, `captioned` "
                "(with a description), `upright` (without one, when the original lies on its "
                "side)."
            ),
            examples=["500x500", "gray", "captioned", "original"],
        ),
    ],
    user: Viewer,
    res: Res,
    v: Annotated[
        str | None,
        Query(
            max_length=64,
            description=(
                "The version in the record's address: while it is the present one, the answer may "
                "be kept for a year without asking again. With another the present picture comes."
            ),
        ),
    ] = None,
) -> Response:
    """Get a rendition of a picture.

    A size, the picture in gray, the captioned picture, or the original as it was uploaded.
    """
    image = await _find(res, user, image_id)
    return await pictures.respond(request, res, image, pictures.named(image, name), v)


@router.get("", response_model=list[ImageRecord], responses=LISTED)
async def index(user: Viewer, res: Res, page: Page, wanted: Wanted) -> Response:
    """List the pictures of a space.

    Their records, newest first unless `sort` says otherwise, in pages. Several filters narrow
    together.
    """
    filters = wanted(user)
    found = await queries.page(
        res.database,
        user_id=user.user_id,
        filters=filters,
        position=page.position(filters.numbers),
        limit=page.fetch,
    )
    shown = found[: page.limit]
    more = len(found) > page.limit
    headers = page.headers(*filters.position(shown[-1])) if more else None
    return json_response([record(row) for row in shown], headers=headers)


@router.post(
    "",
    status_code=201,
    response_model=UploadedImage,
    responses=responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=FORM,
)
async def upload(
    request: Request, user: Editor, res: Res, space: Space = None, key: Key = None
) -> Response:
    """Upload a picture into a space.

    It is processed in the background: the record has the status `queued` until then. The answer
    also names the pictures of the space that have the same content.
    """
    space_id = in_space(user, space, Right.IMAGES_WRITE)
    with res.uploads.admitted():
        return await _upload(request, user, space_id, res, key)


async def _upload(
    request: Request, user: Principal, space_id: int, res: Resources, key: str | None
) -> Response:
    crowded = await _require_room(res) > INLINE_DEPTH
    await allowance.refuse_early(request, res, space_id)
    settings = res.settings
    async with (
        receive(request, settings, FILE_PARTS, service.WORDS) as received,
        res.uploads.working,
    ):
        words = _words(received, settings)
        original = service.Original(
            received.file.content, received.file.sha256, received.file.size
        )
        mark = _fingerprint(user, space_id, original, words)
        hours = settings.idempotency_hours
        async with once(res.database, scope(user.user_id, UPLOAD), key, mark, hours=hours) as run:
            if run.replay:
                return run.replay
            small = (
                original.content if isinstance(original.content, bytes) and not crowded else None
            )
            image = await service.create(
                res.database,
                res.blobs,
                settings,
                res.probers,
                space_id=space_id,
                created_by=user.user_id,
                original=original,
                words=words,
                before_commit=_keep(run),
            )
            await offers.offer(
                res.process_lanes, space_id, jobs.process_job(settings, image, small)
            )
            return run.answer


def _fingerprint(
    user: Principal, space_id: int, original: service.Original, words: service.Words
) -> bytes:
    # One's own space is not in it, as it never was: a repeat is recognised across an upgrade.
    where = [] if space_id == user.user_id else [space_id]
    return fingerprint(original.sha256, words.title, words.description, words.tags, *where)


@router.patch(
    "/{image_id}",
    response_model=ImageRecord,
    responses=responses(400, 401, 404, 412, 422, 503),
    openapi_extra=ON_MATCH,
)
async def change(
    request: Request, image_id: Id, body: ImageChange, user: Editor, res: Res
) -> Response:
    """Change a picture's title, description or tags.

    What is left out stays. A new description makes a new caption; until then the old one is
    served.
    """
    return await _change(request, res, user, image_id, body)


@router.put(
    "/{image_id}",
    response_model=ImageRecord,
    responses=responses(400, 401, 404, 412, 422, 503),
    openapi_extra=ON_MATCH,
)
async def replace(
    request: Request, image_id: Id, body: ImageReplacement, user: Editor, res: Res
) -> Response:
    """Replace a picture's title, description and tags.

    A new description makes a new caption; until then the old one is served.
    """
    return await _change(request, res, user, image_id, body)


@router.post(
    "/{image_id}/retry",
    status_code=202,
    response_model=ImageRecord,
    responses=responses(400, 401, 404, 409, 412, 422, 503),
    openapi_extra=ON_MATCH,
)
async def retry(request: Request, image_id: Id, user: Editor, res: Res) -> Response:
    """Process a failed picture again.

    409 `not-failed` for a picture that has not failed.
    """
    image = await service.retry(
        res.database,
        res.cache,
        principal=user,
        image_id=image_id,
        expected=if_match(request),
    )
    await offers.offer(res.process_lanes, image.owner_id, jobs.process_job(res.settings, image))
    return record_response(request, dumps(record(row_of(image))), str(image.sequence), 202)


@router.delete(
    "/{image_id}",
    status_code=204,
    responses=responses(400, 401, 404, 409, 412, 422, 503),
    openapi_extra=ON_MATCH,
)
async def delete(request: Request, image_id: Id, user: Editor, res: Res) -> Response:
    """Delete a picture.

    Its record, its original and its renditions; it can be restored from the trash for
    `trash_days`. 409 `picture-in-use` while tasks are made of it.
    """
    await deleting.delete(
        res.database,
        res.blobs,
        res.cache,
        principal=user,
        image_id=image_id,
        expected=if_match(request),
        keep=res.settings.trash_days > 0,
    )
    return Response(status_code=204)


async def _find(res: Resources, user: Principal, image_id: int) -> Cached:
    return await queries.find(
        res.database,
        res.cache,
        principal=user,
        image_id=image_id,
        seconds=res.settings.cache_seconds,
    )


async def _require_room(res: Resources) -> int:
    """The number of waiting jobs; refuses before the body is read while the queue is full.

    Without Redis uploads are accepted: the rows are enough to offer the jobs later.
    """
    try:
        depth = await res.process_lanes.depth()
    except Unavailable:
        return 0
    if depth >= res.settings.queue_limit:
        raise Unavailable(
            "Too many pictures are waiting to be processed.",
            slug="queue-full",
            retry_after=FULL_RETRY_SECONDS,
        )
    return depth


def _words(received: Upload, settings: Settings) -> service.Words:
    for name in ("title", "description"):
        if len(received.values(name)) > 1:
            raise refused(TWICE, "body", name)
    fields = dict(received.fields)
    given = fields.get("title", "").strip() or received.file.name
    return service.Words(
        title=texts.title(given),
        description=texts.description(fields.get("description", ""), settings.description_limit),
        tags=texts.tags(received.values("tags")),
    )


def _keep(run: Run) -> Any:
    async def keep(session: AsyncSession, image: Image) -> None:
        location = {"Location": f"/api/images/{image.id}", "ETag": f'"{image.sequence}"'}
        shown = record(row_of(image)) | {"duplicates": await service.duplicates(session, image)}
        await run.keep(session, Response(dumps(shown), 201, location, "application/json"))

    return keep


async def _change(
    request: Request,
    res: Resources,
    user: Principal,
    image_id: int,
    body: ImageChange | ImageReplacement,
) -> Response:
    words = service.Words(
        title=None if body.title is None else texts.title(body.title),
        description=None
        if body.description is None
        else texts.description(body.description, res.settings.description_limit),
        tags=None if body.tags is None else texts.tags(body.tags),
    )
    image, again = await service.change(
        res.database,
        res.cache,
        principal=user,
        image_id=image_id,
        words=words,
        expected=if_match(request),
    )
    if again:
        await offers.offer(
            res.process_lanes, image.owner_id, jobs.process_job(res.settings, image)
        )
    return record_response(request, dumps(record(row_of(image))), str(image.sequence))


SHORTCUTS = (
    Shortcut("/api/images/{image_id}/info", info, Right.IMAGES_READ),
    Shortcut("/api/images/{image_id}", picture, Right.IMAGES_READ),
    Shortcut(
        "/api/images/{image_id}/renditions/{name}", rendition, Right.IMAGES_READ, versioned=True
    ),
)
