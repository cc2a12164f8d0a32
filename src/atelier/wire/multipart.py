"""Multipart uploads, read as they come: one file, on its way to a spool, and a few fields.

Memory stays flat whatever is sent. Knows no picture and no store.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    header_unquote,
)

from atelier.errors import AtelierError, Invalid, Malformed, Unsupported
from atelier.wire.complaints import refused, unknown
from atelier.wire.disposition import Part, options, part
from atelier.wire.spool import Spool
from atelier.wire.texts import squeezed

MEDIA_TYPE = "multipart/form-data"
FIELD_BYTES = 64 * 1024  # of one field
FIELDS_BYTES = 256 * 1024  # of all fields together
PARTS = 64  # of one body
BOUNDARY_CHARACTERS = 200
NAME_CHARACTERS = 255  # of a file's name
NAMELESS = "untitled"  # the name of a file that came without one
A_FILE = "This is a text: the part of a file has a file name or a media type"


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
    return content_type.partition(";")[0].strip().lower() == MEDIA_TYPE


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
        self.file: Part | None = None
        self._known = fields
        self._parser = _parser(content_type)
        self._fields: list[tuple[str, str]] = []
        self._part: Part | None = None
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
            name = clean_name(self.file.filename or "") or NAMELESS
            kind = self.file.content_type
        return Upload(Spooled(name, kind, sha256, self.spool.size, content), tuple(self._fields))

    def misplaced(self, name: str) -> None:
        """A part of another name has a file. Raises Invalid."""
        raise refused(f"No file is expected here; send it as `{self._first}`", "body", name)

    def missing(self) -> AtelierError:
        """The error of a form without a file."""
        return refused("A file is required", "body", self._first)

    def text_instead(self, name: str) -> AtelierError:
        """The error of a form with a text in the place of the file."""
        return refused(A_FILE, "body", name)

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
        try:
            self._part = begun = part(segment.headerlist)
        except ValueError as error:
            raise Malformed(f"{error}.") from None
        if begun.complaint:
            # Said in the detail, too: it is about the form as a whole, and many show that alone.
            found = {"loc": ["body", begun.name], "msg": begun.complaint}
            raise Invalid(f"{begun.complaint}.", errors=[found])
        if begun.name in self.names:
            if not begun.is_file:
                raise self.text_instead(begun.name)
            if self.file is not None:
                raise refused("Only one file is accepted", "body", begun.name)
            self.file = begun
        elif begun.filename:
            self.misplaced(begun.name)
        elif begun.name not in self._known:
            raise refused(unknown((*self.names, *self._known)), "body", begun.name)

    def _data(self, chunk: bytes) -> None:
        if self._part is None:
            return
        if self._part is self.file:
            self.spool.add(chunk)
        elif not self._part.filename:
            self._total += len(chunk)
            if len(self._value) + len(chunk) > FIELD_BYTES or self._total > FIELDS_BYTES:
                raise refused("The value is too long", "body", self._part.name)
            self._value += chunk

    def _end(self) -> None:
        ended, self._part = self._part, None
        if ended is None or ended is self.file or ended.filename:
            return
        try:
            value = self._value.decode()
        except UnicodeDecodeError:
            raise refused("Not valid UTF-8", "body", ended.name) from None
        if "\0" in value or "\0" in ended.name:
            raise refused("NUL characters are not accepted", "body", ended.name)
        self._fields.append((ended.name, value))
        self._value.clear()


def _parser(content_type: str) -> PushMultipartParser:
    if not is_multipart(content_type):
        raise Unsupported("Send the file as multipart/form-data.")
    boundary = header_unquote(options(content_type).get("boundary", ""))
    if not boundary or len(boundary) > BOUNDARY_CHARACTERS:
        raise Malformed("The multipart body has no usable boundary in its Content-Type.")
    # Latin-1 keeps each byte of the heads: `part` says which of them should be UTF-8.
    return PushMultipartParser(
        boundary.encode("latin-1", "replace"), max_segment_count=PARTS, header_charset="latin-1"
    )


def _broken(error: MultipartError) -> Malformed:
    return Malformed(f"The multipart body is broken: {error}.")


def clean_name(name: str) -> str:
    """A file's name as people may see it: no path, NFC, nothing invisible, of bounded length.

    Blanks of any width, those that do not break included, are one ordinary blank.
    """
    last = squeezed(re.split(r"[/\\]", name)[-1])
    spaced = "".join(" " if unicodedata.category(char)[0] == "Z" else char for char in last)
    visible = " ".join("".join(char for char in spaced if char.isprintable()).split())
    if len(visible) <= NAME_CHARACTERS:
        return visible
    stem, dot, extension = visible.rpartition(".")
    keep = NAME_CHARACTERS - len(dot + extension)
    return stem[:keep] + dot + extension if stem and keep > 0 else visible[:NAME_CHARACTERS]
