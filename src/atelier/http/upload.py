"""Multipart uploads, read as they come: one file, hashed and counted on its way to memory or disk, and a few fields.

Memory stays flat whatever is sent. Knows no picture and no store; the folder for spooled files is
the caller's choice.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import time
import unicodedata
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request

from atelier.errors import REFUSED, Invalid, Malformed, TooLarge, Unavailable, Unsupported
from atelier.http.complaints import unknown
from atelier.observe.metrics import UPLOADED

if TYPE_CHECKING:
    from atelier.settings import Settings

MIB = 1024 * 1024
MEMORY_BYTES = MIB  # a file up to this size never touches the disk before it is stored
BATCH_BYTES = MIB  # of a larger file go to a thread at once, to be hashed and written
INLINE_HASH_BYTES = (
    256 * 1024
)  # hashed on the loop in well under a millisecond; more is for a thread
FIELD_BYTES = 64 * 1024  # of one field
FIELDS_BYTES = 256 * 1024  # of all fields together
PARTS = 64  # of one body
STALE_SECONDS = 3600  # of a spooled file
NAME_CHARACTERS = 255  # of a file's name
_EXTENDED = re.compile(r"filename\*\s*=\s*utf-8'[^']*'([^\s;]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Spooled:
    """A file as it came: in memory, or at a path that is removed when the upload ends unless somebody took it over."""

    name: str
    content_type: str
    sha256: str
    size: int
    content: bytes | Path


@dataclass(frozen=True, slots=True)
class Upload:
    """The file of a multipart body and its other fields, in the order in which they came."""

    file: Spooled
    fields: ImmutableMultiDict[str, str]


@asynccontextmanager
async def receive(
    request: Request,
    settings: Settings,
    names: Collection[str] = ("file",),
    fields: Collection[str] = (),
    folder: Path | None = None,
) -> AsyncIterator[Upload]:
    """Read a `multipart/form-data` body with these `fields`.

    The file may come under any of `names`.

    Larger files are spooled in `folder` (none: that of the settings).

    Any other field and a second file are refused: they would be lost without a word. Raises
    Unsupported, Malformed, Invalid, TooLarge, Unavailable (disk full) and, when the client goes
    away, starlette's ClientDisconnect. Whatever happens, nothing stays in the folder.
    """
    spool = Spool(folder or spool_folder(settings), settings.body_limit)
    try:
        reader = _Reader(spool, names, fields)
        try:
            parser = _parser(request)
            async for chunk in request.stream():
                for event in parser.parse(chunk) if chunk else ():
                    reader.take(event)
                if spool.waiting > BATCH_BYTES:
                    await spool.flush()
            parser.close()
        except ParserLimitReached as error:
            raise Invalid(f"The form is too large: {error}.") from error
        except MultipartError as error:
            raise Malformed(f"The multipart body is broken: {error}.") from error
        yield await reader.finish()
    finally:
        spool.discard()


def spool_folder(settings: Settings) -> Path:
    """Where uploads are spooled."""
    return settings.incoming_folder


def sweep(folder: Path) -> None:
    """Remove what killed processes left: files that nobody has written to for `STALE_SECONDS`."""
    for path in folder.glob("*.upload"):
        with suppress(FileNotFoundError):  # its request has just ended
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()


def invalid(name: str, message: str) -> Invalid:
    """One field of a form that is not acceptable."""
    return Invalid(REFUSED, errors=[{"loc": ["body", name], "msg": message}])


def _parser(request: Request) -> PushMultipartParser:
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type != "multipart/form-data":
        raise Unsupported("Send the file as multipart/form-data.")
    boundary = options.get("boundary", "")
    if not boundary or len(boundary) > 200:
        raise Malformed("The Content-Type names no usable boundary.")
    return PushMultipartParser(boundary.encode("latin-1", "replace"), max_segment_count=PARTS)


@dataclass(slots=True)
class Spool:
    """Where the file's bytes go: first into memory, from `MEMORY_BYTES` on to a file of its own."""

    folder: Path
    limit: int
    size: int = 0
    waiting: int = 0
    parts: list[bytes] = field(default_factory=list)
    path: Path | None = None
    descriptor: int = -1
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, chunk: bytes) -> None:
        """Take the next bytes. Raises TooLarge."""
        self.size += len(chunk)
        self.waiting += len(chunk)
        if self.size > self.limit:
            raise TooLarge(f"The file is larger than {self.limit} bytes.")
        self.parts.append(chunk)

    async def flush(self) -> None:
        """Hash and write what waits, off the loop."""
        parts, self.parts, self.waiting = self.parts, [], 0
        writing = asyncio.ensure_future(asyncio.to_thread(self._write, parts))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])  # the thread uses the descriptor that `discard` closes
            raise

    async def finish(self) -> tuple[str, bytes | Path]:
        """SHA-256 in hex and the whole content."""
        UPLOADED.labels("picture").inc(self.size)
        if self.path is None and self.size <= MEMORY_BYTES:
            content = b"".join(self.parts)
            if self.size <= INLINE_HASH_BYTES:
                return hashlib.sha256(content).hexdigest(), content
            return (await asyncio.to_thread(hashlib.sha256, content)).hexdigest(), content
        if self.parts:
            await self.flush()
        self._close()
        return self.digest.hexdigest(), self.path or b""

    def discard(self) -> None:
        """Remove the file, unless it was taken over."""
        self._close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _write(self, parts: list[bytes]) -> None:
        try:
            if self.path is None:
                self.folder.mkdir(0o750, parents=True, exist_ok=True)
                self.path = self.folder / f"{secrets.token_hex(16)}.upload"
                self.descriptor = os.open(
                    self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640
                )
            for part in parts:
                self.digest.update(part)
                view = memoryview(part)
                while view:
                    view = view[os.write(self.descriptor, view) :]
        except OSError as error:
            raise Unavailable("The file cannot be stored right now.", retry_after=30) from error

    def _close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@dataclass(slots=True)
class _Reader:
    """From the parser's events to fields and the file."""

    spool: Spool
    names: Collection[str]
    known: Collection[str]
    fields: list[tuple[str, str]] = field(default_factory=list)
    file: MultipartSegment | None = None
    segment: MultipartSegment | None = None
    value: bytearray = field(default_factory=bytearray)
    total: int = 0

    def take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        """One event of the parser: a part begins, some of its bytes, it ends."""
        if event is None:
            self._end()
        elif isinstance(event, bytes | bytearray):
            self._data(bytes(event))
        else:
            self._begin(event)

    async def finish(self) -> Upload:
        """The whole. Raises Invalid when there is no file."""
        segment, size = self.file, self.spool.size
        if segment is None or (
            not size and not segment.filename
        ):  # a form's empty file input looks so
            raise invalid(next(iter(self.names)), "A file is required")
        sha256, content = await self.spool.finish()
        spooled = Spooled(
            clean_name(file_name(segment) or ""), segment.content_type or "", sha256, size, content
        )
        return Upload(spooled, ImmutableMultiDict(self.fields))

    def _begin(self, segment: MultipartSegment) -> None:
        self.segment = segment
        name = segment.name or ""
        if name in self.names:
            if self.file is not None:
                raise invalid(name, "Only one file is accepted")
            self.file = segment
        elif file_name(segment):
            raise invalid(name, f"No file is expected here; send it as `{next(iter(self.names))}`")
        elif name not in self.known:
            raise invalid(name, unknown((*self.names, *self.known)))

    def _data(self, chunk: bytes) -> None:
        if self.segment is self.file:
            self.spool.add(chunk)
            return
        self.total += len(chunk)
        if len(self.value) + len(chunk) > FIELD_BYTES or self.total > FIELDS_BYTES:
            raise invalid(self.segment.name or "" if self.segment else "", "The value is too long")
        self.value += chunk

    def _end(self) -> None:
        segment, self.segment = self.segment, None
        if segment is None or segment is self.file:
            return
        name = segment.name or ""
        try:
            value = self.value.decode()
        except UnicodeDecodeError:
            raise invalid(name, "Not valid UTF-8") from None
        if "\0" in value or "\0" in name:
            raise invalid(name, "NUL characters are not accepted")
        self.fields.append((name, value))
        self.value.clear()


def file_name(segment: MultipartSegment) -> str | None:
    """The name that a part gives its file; None for one that is no file.

    Also the `filename*` of some older clients.
    """
    if segment.filename is None:
        for name, value in segment.headerlist:
            if name == "Content-Disposition" and (match := _EXTENDED.search(value)):
                return unquote(match[1])
    named: str | None = segment.filename
    return named


def clean_name(name: str) -> str:
    """A file's name as people may see it: the last part of a path, NFC, nothing invisible, of bounded length."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    visible = "".join(char for char in last if char.isprintable()).strip()
    if len(visible) <= NAME_CHARACTERS:
        return visible
    stem, dot, extension = visible.rpartition(".")
    keep = NAME_CHARACTERS - len(dot + extension)
    return stem[:keep] + dot + extension if stem and keep > 0 else visible[:NAME_CHARACTERS]
