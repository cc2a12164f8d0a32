"""Pictures as a ZIP archive, made while it is sent: nothing is compressed, memory stays flat.

Each file's length and CRC-32 stand before its bytes, for readers that take an archive as a stream
and cannot see where a file ends otherwise. Archives that need it are ZIP64. Knows no HTTP.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy.util import await_only, greenlet_spawn
from stream_zip import NO_COMPRESSION_32, NO_COMPRESSION_64, Method, stream_zip

from atelier.blobs import Blobs
from atelier.errors import NotFound
from atelier.http.exporting import plain_name
from atelier.images.export import Csv
from atelier.images.queries import COUNTED
from atelier.images.records import Picture, cached

MEDIA_TYPE = "application/zip"
MOST = COUNTED  # pictures of one archive, whose directory is kept to its end: some 30 MB
MANIFEST = "manifest.csv"
FILE = "file"  # the manifest's column that names the file in the archive
PIECE_BYTES = 256 * 1024
# Of one picture: up to that it is read once, and kept from its CRC to its sending; above it twice.
KEPT_BYTES = 8 * 1024 * 1024
SPOOL_BYTES = 1024 * 1024  # of the manifest, above which it is on disk
FILE_MODE = 0o644
_LIMIT_32 = 2**32 - 2**20  # of an archive, and of 65,535 entries: the rest is for its directory
_ENTRIES_32 = 65_000


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive, all of which is known but its bytes."""

    name: str
    modified: datetime
    size: int
    crc: int
    pieces: AsyncIterator[bytes]


async def archive(
    blobs: Blobs,
    batches: AsyncGenerator[Any, None],
    rendition: str,
    folder: Path,
) -> AsyncGenerator[bytes, None]:
    """The pictures of batches of rows, as this rendition, and a manifest of all of them.

    Those without it are in the manifest alone. `folder` takes what does not fit into memory.
    """
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=str(folder)) as manifest:
        members = _members(blobs, batches, rendition, manifest)
        async with aclosing(members), aclosing(zipped(members)) as pieces:
            async for piece in pieces:
                yield piece


async def zipped(members: AsyncGenerator[Member, None]) -> AsyncGenerator[bytes, None]:
    """The archive of these files.

    The library asks for them without awaiting: it runs in greenlets, as SQLAlchemy's ORM does.
    """
    stream = iter(stream_zip(_files(members), chunk_size=PIECE_BYTES, extended_timestamps=False))
    while (piece := await greenlet_spawn(next, stream, None)) is not None:
        yield piece


def _files(
    members: AsyncGenerator[Member, None],
) -> Iterator[tuple[str, datetime, int, Method, Iterator[bytes]]]:
    size = number = 0
    while (member := await_only(anext(members, None))) is not None:
        size, number = size + member.size + PIECE_BYTES, number + 1
        fits = size < _LIMIT_32 and number < _ENTRIES_32
        method = (NO_COMPRESSION_32 if fits else NO_COMPRESSION_64)(member.size, member.crc)
        yield member.name, member.modified, FILE_MODE, method, _waiting(member.pieces)


def _waiting(pieces: AsyncIterator[bytes]) -> Iterator[bytes]:
    while (piece := await_only(anext(pieces, None))) is not None:
        yield piece


async def _members(
    blobs: Blobs, batches: AsyncGenerator[Any, None], rendition: str, manifest: IO[bytes]
) -> AsyncGenerator[Member, None]:
    writer = Csv(FILE)
    manifest.write(writer.head)
    newest = datetime(1980, 1, 1)  # noqa: DTZ001 - the first moment of a ZIP archive, which has no zones
    async with aclosing(batches):
        async for rows in batches:
            for row in rows:
                picture = cached(row).pictures.get(rendition)
                member = None if picture is None else await _member(blobs, row, picture)
                manifest.write(writer.lines([row], [member.name if member else None]))
                newest = row["received_at"].replace(tzinfo=None)
                if member is not None:
                    yield member
    size, crc = manifest.tell(), 0
    manifest.seek(0)
    while piece := manifest.read(PIECE_BYTES):
        crc = zlib.crc32(piece, crc)
    manifest.seek(0)
    yield Member(MANIFEST, newest, size, crc, _read(manifest))


async def _read(file: IO[bytes]) -> AsyncGenerator[bytes, None]:
    while piece := file.read(PIECE_BYTES):
        yield piece


async def _member(blobs: Blobs, row: Any, picture: Picture) -> Member | None:
    """The file of a picture; None if it has just been deleted."""
    kept: list[bytes] = []
    size = crc = 0
    try:
        async for piece in blobs.stream(picture.blob):
            size, crc = size + len(piece), zlib.crc32(piece, crc)
            if size <= KEPT_BYTES:
                kept.append(piece)
            else:
                kept.clear()
    except NotFound:
        return None
    pieces = _again(kept) if size <= KEPT_BYTES else blobs.stream(picture.blob)
    modified = row["received_at"].replace(tzinfo=None)
    return Member(member_name(row["title"], row["id"], picture), modified, size, crc, pieces)


async def _again(kept: list[bytes]) -> AsyncGenerator[bytes, None]:
    for piece in kept:
        yield piece


def member_name(title: str, image_id: int, picture: Picture) -> str:
    """The name of a picture's file: its title, as any system takes it, and its id.

    By the id no two are equal, whatever the case, and none is a device of Windows.
    """
    ending = picture.blob.rpartition(".")[2]
    stem = title[: -len(ending) - 1] if title.lower().endswith(f".{ending}") else title
    return f"{plain_name(stem) or 'image'}-{image_id}.{ending}"
