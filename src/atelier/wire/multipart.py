"""Multipart uploads, read as they come: one file, on its way to a spool, and a few fields.

Memory stays flat whatever is sent. Knows no picture and no store.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from atelier.errors import AtelierError, Invalid, Malformed, Unsupported
from atelier.wire.complaints import refused, unknown
from atelier.wire.spool import Spool
from atelier.wire.texts import squeezed

MEDIA_TYPE = "multipart/form-data"
FIELD_BYTES = 64 * 1024  # of one field
FIELDS_BYTES = 256 * 1024  # of all fields together
PARTS = 64  # of one body
BOUNDARY_CHARACTERS = 200
NAME_CHARACTERS = 255  # of a file's name
_EXTENDED = re.compile(r"filename\*\s*=\s*utf-8'[^']*'([^\s;]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Spooled:
    """A file as it came: in memory, or at a path that is removed unless it was taken over."""

    name: str
    content_type: str
    sha256: str
    size: int
    content: bytes | Path


@dataclass(frozen=True, slots=True)
class Upload:
    """The file of a multipart body and its other fields, in the order in which they came."""

    file: Spooled
    fields: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for given, value in self.fields if given == name]


def is_multipart(content_type: str) -> bool:
    """Whether a Content-Type says multipart/form-data."""
    return str(parse_options_header(content_type)[0]) == MEDIA_TYPE


class Form:
    """From a body's bytes to fields and the file, which may come under any of `names`.

    Any other field and a second file are refused: they would be lost without a word. Feed it,
    write its spool when that is full, `end` it, finish the spool, and take the `upload`.
    """

    def __init__(
        self, content_type: str, spool: Spool, names: Collection[str], fields: Collection[str] = ()
    ) -> None:
        """Raises Unsupported for another Content-Type, Malformed without a boundary."""
        self.spool = spool
        self.names = names
        self.file: MultipartSegment | None = None
        self._known = fields
        self._parser = _parser(content_type)
        self._fields: list[tuple[str, str]] = []
        self._segment: MultipartSegment | None = None
        self._value = bytearray()
        self._total = 0

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes of the body. Raises Malformed, Invalid and TooLarge."""
        try:
            for event in self._parser.parse(chunk) if chunk else ():
                self._take(event)
        except ParserLimitReached as error:
            raise Invalid(f"The form is too large: {error}.") from error
        except MultipartError as error:
            raise _broken(error) from error

    def end(self) -> None:
        """The body has come to its end. Raises Malformed, and what `missing` gives."""
        try:
            self._parser.close()
        except MultipartError as error:
            raise _broken(error) from error
        # A form's empty file input has neither a name nor a byte.
        if self.file is None or not (self.spool.size or self.file.filename):
            raise self.missing()

    def upload(self, sha256: str, content: bytes | Path) -> Upload:
        """The whole, with what the finished spool gave."""
        name, kind = "", ""
        if self.file is not None:
            name, kind = clean_name(file_name(self.file) or ""), self.file.content_type or ""
        return Upload(Spooled(name, kind, sha256, self.spool.size, content), tuple(self._fields))

    def is_file(self, segment: MultipartSegment) -> bool:
        """Whether a part is the file."""
        return segment.name in self.names

    def misplaced(self, name: str) -> None:
        """A part of another name has a file. Raises Invalid."""
        raise refused(f"No file is expected here; send it as `{self._first}`", "body", name)

    def missing(self) -> AtelierError:
        """The error of a form without a file."""
        return refused("A file is required", "body", self._first)

    @property
    def _first(self) -> str:
        return next(iter(self.names))

    def _take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        """A part begins, some of its bytes, it ends."""
        if event is None:
            self._end()
        elif isinstance(event, bytes | bytearray):
            self._data(bytes(event))
        else:
            self._begin(event)

    def _begin(self, segment: MultipartSegment) -> None:
        self._segment = segment
        name = segment.name or ""
        if self.is_file(segment):
            if self.file is not None:
                raise refused("Only one file is accepted", "body", name)
            self.file = segment
        elif file_name(segment):
            self.misplaced(name)
        elif name not in self._known and name not in self.names:
            raise refused(unknown((*self.names, *self._known)), "body", name)

    def _data(self, chunk: bytes) -> None:
        if self._segment is None:
            return
        if self._segment is self.file:
            self.spool.add(chunk)
        elif not file_name(self._segment):
            self._total += len(chunk)
            if len(self._value) + len(chunk) > FIELD_BYTES or self._total > FIELDS_BYTES:
                raise refused("The value is too long", "body", self._segment.name or "")
            self._value += chunk

    def _end(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None or segment is self.file or file_name(segment):
            return
        name = segment.name or ""
        try:
            value = self._value.decode()
        except UnicodeDecodeError:
            raise refused("Not valid UTF-8", "body", name) from None
        if "\0" in value or "\0" in name:
            raise refused("NUL characters are not accepted", "body", name)
        self._fields.append((name, value))
        self._value.clear()


def _parser(content_type: str) -> PushMultipartParser:
    media_type, options = parse_options_header(content_type)
    if media_type != MEDIA_TYPE:
        raise Unsupported("Send the file as multipart/form-data.")
    boundary = options.get("boundary", "")
    if not boundary or len(boundary) > BOUNDARY_CHARACTERS:
        raise Malformed("The multipart body has no usable boundary in its Content-Type.")
    return PushMultipartParser(boundary.encode("latin-1", "replace"), max_segment_count=PARTS)


def _broken(error: MultipartError) -> Malformed:
    return Malformed(f"The multipart body is broken: {error}.")


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
    """A file's name as people may see it: no path, NFC, nothing invisible, of bounded length."""
    last = squeezed(re.split(r"[/\\]", name)[-1])
    visible = "".join(char for char in last if char.isprintable()).strip()
    if len(visible) <= NAME_CHARACTERS:
        return visible
    stem, dot, extension = visible.rpartition(".")
    keep = NAME_CHARACTERS - len(dot + extension)
    return stem[:keep] + dot + extension if stem and keep > 0 else visible[:NAME_CHARACTERS]
