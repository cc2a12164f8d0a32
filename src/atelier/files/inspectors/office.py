"""Office documents, which are zip archives: their type and their metadata.

Their XML is read only if it is small, UTF-8 or UTF-16, and free of declarations of types and
entities, which no office program writes and every XML bomb needs.
"""

from __future__ import annotations

import codecs
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

from atelier.files.inspectors.clean import clean

XML_BYTES = 256 * 1024
OOXML = "application/vnd.openxmlformats-officedocument."
MICROSOFT = "application/vnd.ms-"
# The type of a package's main part, without what such types end with: the document's format and
# its own type (ECMA-376 and Microsoft's list of types).
MAIN_PARTS = {
    OOXML + "wordprocessingml.document": ("docx", OOXML + "wordprocessingml.document"),
    OOXML + "wordprocessingml.template": ("dotx", OOXML + "wordprocessingml.template"),
    OOXML + "spreadsheetml.sheet": ("xlsx", OOXML + "spreadsheetml.sheet"),
    OOXML + "spreadsheetml.template": ("xltx", OOXML + "spreadsheetml.template"),
    OOXML + "presentationml.presentation": ("pptx", OOXML + "presentationml.presentation"),
    OOXML + "presentationml.template": ("potx", OOXML + "presentationml.template"),
    OOXML + "presentationml.slideshow": ("ppsx", OOXML + "presentationml.slideshow"),
    **{
        f"{MICROSOFT}{part}.macroEnabled{more}": (
            format_,
            f"{MICROSOFT}{part}.macroEnabled.12",
        )
        for part, more, format_ in (
            ("word.document", "", "docm"), ("word.template", "Template", "dotm"),
            ("excel.sheet", "", "xlsm"), ("excel.template", "", "xltm"),
            ("excel.addin", "", "xlam"), ("excel.sheet.binary", "", "xlsb"),
            ("powerpoint.presentation", "", "pptm"), ("powerpoint.template", "", "potm"),
            ("powerpoint.slideshow", "", "ppsm"),
        )
    },
}  # fmt: skip
# By the folder of the main part, where no type is told.
FOLDERS = {
    "word": MAIN_PARTS[OOXML + "wordprocessingml.document"],
    "xl": MAIN_PARTS[OOXML + "spreadsheetml.sheet"],
    "ppt": MAIN_PARTS[OOXML + "presentationml.presentation"],
}
USUAL_PARTS = ("word/document.xml", "xl/workbook.xml", "ppt/presentation.xml")
TYPES = "[Content_Types].xml"
LINKS = "_rels/.rels"
MAIN_LINK, FACTS_LINK = "/officeDocument", "/core-properties"  # ends of relationships' types
MIMETYPE = "mimetype"  # the entry by which OpenDocument and EPUB name themselves
EPUB = "application/epub+zip"
CONTAINER = "META-INF/container.xml"  # names an EPUB's package file
PACKAGE_TYPE = "application/oebps-package+xml"
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
CORE, META = "docProps/core.xml", "meta.xml"
AUTHORS = 20  # of a book that are named
WANTED = {"title": "title", "creator": "author", "initial-creator": "author", "subject": "subject"}


class Document(NamedTuple):
    """The type and metadata of an office file."""

    content_type: str
    facts: dict[str, Any]


def describe(archive: zipfile.ZipFile) -> Document | None:
    """The document in an archive, or None."""
    names = set(archive.namelist())
    if TYPES in names and (found := _package(archive, names)):
        return found
    if MIMETYPE in names:
        named = _small(archive, MIMETYPE).decode("ascii", "replace").strip()
        if named in NAMED:
            part = _book(archive, names) if named == EPUB else META
            facts = _facts(archive, part if part in names else META, names, several=named == EPUB)
            return Document(named, {"format": NAMED[named]} | facts)
    return None


def _package(archive: zipfile.ZipFile, names: set[str]) -> Document | None:
    """The document whose main part the package's relationships name, or the usual one."""
    links = {
        kind.rpartition("/")[2]: _part(target)
        for kind, target in _attributes(archive, LINKS, names, "Relationship", "Type", "Target")
        if kind.endswith((MAIN_LINK, FACTS_LINK))
    }
    usual = next((part for part in USUAL_PARTS if part in names), "")
    main = links.get(MAIN_LINK[1:], usual)
    if main not in names:
        main = usual
    types = {
        _part(name): type_
        for name, type_ in _attributes(
            archive, TYPES, names, "Override", "PartName", "ContentType"
        )
    }
    told = types.get(main, "").removesuffix("+xml").removesuffix(".main")
    found = MAIN_PARTS.get(told) or FOLDERS.get(main.partition("/")[0])
    if not main or found is None:
        return None
    facts = links.get(FACTS_LINK[1:], CORE)
    return Document(
        found[1],
        {"format": found[0]} | _facts(archive, facts if facts in names else CORE, names),
    )


def _part(target: str) -> str:
    """The name of the entry that a relationship of the package, or a list of types, means."""
    return posixpath.normpath(target).lstrip("/")


def _book(archive: zipfile.ZipFile, names: set[str]) -> str:
    """The package file of an EPUB, which its container names."""
    listed = _attributes(archive, CONTAINER, names, "rootfile", "full-path", "media-type")
    return next(
        (path for path, type_ in listed if type_ == PACKAGE_TYPE or path.endswith(".opf")), ""
    )


def _attributes(
    archive: zipfile.ZipFile, name: str, names: set[str], tag: str, first: str, second: str
) -> Iterator[tuple[str, str]]:
    """Two attributes of each element of a kind in an entry."""
    if name in names:
        for element in _elements(_small(archive, name)):
            if _local(element) == tag:
                yield element.get(first, ""), element.get(second, "")


def _facts(
    archive: zipfile.ZipFile, name: str, names: set[str], *, several: bool = False
) -> dict[str, Any]:
    """Title, author and subject, as an entry has them first; or `several` authors in a row."""
    found: dict[str, str] = {}
    authors: list[str] = []
    for element in _elements(_small(archive, name)) if name in names else []:
        fact = WANTED.get(_local(element))
        if fact and element.text and fact not in found:
            found[fact] = clean(element.text)
        if fact == "author" and element.text and len(authors) < AUTHORS:
            authors.append(clean(element.text))
    if several and len(authors) > 1:
        found["author"] = clean(", ".join(authors))
    return found


def _local(element: ET.Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def _elements(data: bytes) -> list[ET.Element]:
    """The elements of a harmless document, otherwise none."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
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
