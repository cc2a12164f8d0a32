"""PDF documents: pages, metadata, and the amount of text."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from pypdf import PasswordType, PdfReader
from pypdf.errors import DependencyError, PyPdfError
from pypdf.generic import PdfObject, TextStringObject

from atelier.errors import Unsupported
from atelier.files.inspectors import Inspection, Task
from atelier.files.inspectors.clean import clean
from atelier.files.inspectors.detect import HEAD_BYTES, pdf_header

PAGES = 200  # whose text is read
SECONDS = 4.0  # for reading text: a part of an inspection's limit
TEXT_CHARACTERS = 5_000_000
_HEADER = re.compile(rb"%PDF-(\d\.\d{1,2})")
BROKEN = (
    PyPdfError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError,
    OverflowError, NotImplementedError, AssertionError, UnicodeError, OSError, StopIteration,
)  # fmt: skip


class BadPdf(Unsupported):
    """The PDF is damaged and cannot be read."""

    slug = "bad-pdf"


def inspect(task: Task, data: bytes) -> Inspection:
    """Raises BadPdf. Of a document locked by a password only that is reported.

    One that is locked against changes alone opens with the empty password, as every viewer tries.
    """
    place = pdf_header(data[:HEAD_BYTES]) or 0
    found = _HEADER.match(data, place)
    result: dict[str, Any] = {"version": found[1].decode("ascii") if found else ""}
    try:
        result |= _read(data[place:])
    except BROKEN as error:
        # Places are counted from the header, or from what stands before it.
        result |= _again(data) if place else _refuse(error)
    return Inspection("pdf", task.content_type, result)


def _again(data: bytes) -> dict[str, Any]:
    try:
        return _read(data)
    except BROKEN as error:
        return _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    detail = "The document ends too early, or what is in it cannot be found."
    raise BadPdf(detail) from error


def _read(data: bytes) -> dict[str, Any]:
    try:
        reader = PdfReader(io.BytesIO(data))
        locked = reader.is_encrypted
        if locked and reader.decrypt("") is PasswordType.NOT_DECRYPTED:
            return {"encrypted": True}
        pages = len(reader.pages)
        return {"encrypted": locked, "pages": pages} | _about(reader) | _text(reader, pages)
    except DependencyError:  # no AES here, which is no fault of the file; `atelier doctor` says it
        return {"encrypted": True}


def _about(reader: PdfReader) -> dict[str, Any]:
    about: Mapping[str, Any] = reader.metadata or {}
    return {
        name: clean(_string(about.get(f"/{name.capitalize()}"))) or None
        for name in ("title", "author", "producer")
    }


def _string(value: Any) -> str:
    """The text of a string object; nothing for an object of another type or a missing one."""
    value = value.get_object() if isinstance(value, PdfObject) else value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, TextStringObject) else ""


def _text(reader: PdfReader, pages: int) -> dict[str, Any]:
    """The number of characters of text, and of the pages that were read."""
    characters = read = 0
    deadline = time.monotonic() + SECONDS
    for number in range(min(pages, PAGES)):
        if time.monotonic() > deadline or characters > TEXT_CHARACTERS:
            break
        try:
            characters += len(reader.pages[number].extract_text())
        except BROKEN:
            continue
        read += 1
    return {"text_characters": characters, "text_pages": read}
