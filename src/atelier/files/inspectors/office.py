"""Office documents, which are zip archives: their type and their metadata.

Their XML is read only if it is small, UTF-8 and free of declarations of types and entities,
which no office program writes and every XML bomb needs.
"""

from __future__ import annotations

import zipfile
import zlib
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

from atelier.files.inspectors.clean import clean

XML_BYTES = 256 * 1024
OOXML = "application/vnd.openxmlformats-officedocument."
PARTS = {
    "word/document.xml": ("docx", OOXML + "wordprocessingml.document"),
    "xl/workbook.xml": ("xlsx", OOXML + "spreadsheetml.sheet"),
    "ppt/presentation.xml": ("pptx", OOXML + "presentationml.presentation"),
}
MIMETYPE = "mimetype"  # the entry by which OpenDocument and EPUB name themselves
EPUB = "application/epub+zip"
OPENDOCUMENT = "application/vnd.oasis.opendocument."
# OpenDocument 1.3, part 3, appendix A. Whatever else an entry says is no type: it would become a
# header.
NAMED = {EPUB: "epub"} | {
    f"{OPENDOCUMENT}{kind}{template}": f"{kind}{template}"
    for kind in (
        "text", "spreadsheet", "presentation", "graphics", "chart", "formula", "image", "base",
        "database", "text-master", "text-web",
    )
    for template in ("", "-template")
}  # fmt: skip
FACTS = ("docProps/core.xml", "meta.xml")
WANTED = {"title": "title", "creator": "author", "initial-creator": "author", "subject": "subject"}


class Document(NamedTuple):
    """The type and metadata of an office file."""

    content_type: str
    facts: dict[str, Any]


def describe(archive: zipfile.ZipFile) -> Document | None:
    """The document in an archive, or None."""
    names = set(archive.namelist())
    for part, (format_, content_type) in PARTS.items():
        if part in names and "[Content_Types].xml" in names:
            return Document(content_type, {"format": format_} | _facts(archive, names))
    if MIMETYPE in names:
        named = _small(archive, MIMETYPE).decode("ascii", "replace").strip()
        if named in NAMED:
            return Document(named, {"format": NAMED[named]} | _facts(archive, names))
    return None


def _facts(archive: zipfile.ZipFile, names: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in FACTS:
        if name in names:
            for element in _elements(_small(archive, name)):
                fact = WANTED.get(element.tag.rpartition("}")[2])
                if fact and element.text and fact not in found:
                    found[fact] = clean(element.text)
    return found


def _elements(data: bytes) -> list[ET.Element]:
    """The elements of a harmless document, otherwise none."""
    try:
        text = data.decode("utf-8-sig")
        if "<!" in text.replace("<!--", "") or "\0" in text:
            return []
        return list(ET.fromstring(text).iter())  # noqa: S314 - without declarations nothing can expand
    except (UnicodeDecodeError, ValueError, ET.ParseError, RecursionError):
        return []


def _small(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of an entry, if it is as small as such entries are."""
    try:
        with archive.open(name) as entry:
            data = entry.read(XML_BYTES + 1)
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        RuntimeError,
        NotImplementedError,
        ValueError,
    ):
        return b""
    return data if len(data) <= XML_BYTES else b""
