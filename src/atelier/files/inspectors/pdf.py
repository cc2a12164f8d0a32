"""PDF documents: pages, metadata, and the amount of text."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from typing import Any

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from atelier.errors import Unsupported
from atelier.files.inspectors import Inspection, Task
from atelier.files.inspectors.clean import clean

PAGES = 200  # whose text is read
SECONDS = 4.0  # for reading text: a part of an inspection's limit
TEXT_CHARACTERS = 5_000_000
BROKEN = (
    PyPdfError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError,
    OverflowError, NotImplementedError, AssertionError, UnicodeError, OSError, StopIteration,
)  # fmt: skip


class BadPdf(Unsupported):
    """The PDF is damaged and cannot be read."""

    slug = "bad-pdf"


def inspect(task: Task, data: bytes) -> Inspection:
    """Raises BadPdf. An encrypted document is only reported as encrypted."""
    try:
        reader = PdfReader(io.BytesIO(data))
        result: dict[str, Any] = {"version": clean(reader.pdf_header.removeprefix("%PDF-"), 10)}
        if reader.is_encrypted:
            return Inspection("pdf", task.content_type, result | {"encrypted": True})
        pages = len(reader.pages)
        result |= {"encrypted": False, "pages": pages} | _about(reader) | _text(reader, pages)
    except BROKEN as error:
        raise BadPdf("The document ends too early, or what is in it cannot be found.") from error
    return Inspection("pdf", task.content_type, result)


def _about(reader: PdfReader) -> dict[str, Any]:
    about: Mapping[str, Any] = reader.metadata or {}
    found = {
        name: clean(str(about.get(f"/{name.capitalize()}") or ""))
        for name in ("title", "author", "producer")
    }
    return {name: value or None for name, value in found.items()}


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
