"""Serves the files of an image: chooses one, and reads it from memory, cache or store."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from atelier.errors import NotFound
from atelier.http.conditional import picture_response
from atelier.http.resources import Resources
from atelier.http.sendfile import ProxiedFile, RemoteBlob, content_of
from atelier.images.models import FAILED, READY
from atelier.images.records import Cached, Picture

RETRY_SECONDS = 1  # a picture is usually ready by then


def favourite(image: Cached) -> Picture:
    """The processed picture.

    Raises NotFound while there is none, with `not-ready` or `processing-failed`.
    """
    _require_success(image)
    if image.status != READY and not image.rendered:
        raise _not_ready()
    return image.favourite()


def named(image: Cached, name: str) -> Picture:
    """One rendition.

    Raises NotFound: `not-ready` while it may still come, `processing-failed` when it will not.
    """
    picture = image.pictures.get(name)
    if picture is not None:
        return picture
    _require_success(image)
    if image.status != READY:
        raise _not_ready()
    raise NotFound("This image has no such rendition.")


async def respond(
    request: Request,
    resources: Resources,
    image: Cached,
    picture: Picture,
    version: str | None = None,
) -> Response:
    """The file, whole or in part, subject to the request's conditions.

    Under an address that names its `version` it stays the same for ever.
    """
    return picture_response(
        request,
        await _content(resources, picture),
        media_type=picture.media_type,
        etag=picture.etag,
        modified=image.updated_at,
        filename=filename(image.title, picture),
        lasting=version == picture.version,
    )


async def _content(
    resources: Resources, picture: Picture
) -> bytes | Path | ProxiedFile | RemoteBlob:
    accel = resources.settings.accel_prefix
    if picture.size > resources.settings.cache_item_limit or (
        accel and resources.blobs.path(picture.blob)
    ):
        return content_of(resources.blobs, picture.blob, picture.size, accel)
    content = resources.memory.get(picture.blob)
    if content is None:
        content = await resources.cache.get_or_load(
            f"blob:{picture.blob}",
            lambda: resources.blobs.get(picture.blob),
            resources.settings.cache_seconds,
        )
        if content is None:
            raise NotFound("The content is gone.")
        resources.memory.put(picture.blob, content)
    return content


def filename(title: str, picture: Picture) -> str:
    """A file name for the picture: its title, with the suffix of its present format."""
    ending = "." + picture.blob.rpartition(".")[2]
    stem = title[: -len(ending)] if title.lower().endswith(ending) else title
    return (stem if picture.name == "original" else f"{stem}-{picture.name}") + ending


def _require_success(image: Cached) -> None:
    if image.status == FAILED:
        raise NotFound(image.error, slug="processing-failed")


def _not_ready() -> NotFound:
    return NotFound(
        "The picture is still being processed.", slug="not-ready", retry_after=RETRY_SECONDS
    )
