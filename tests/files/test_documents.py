"""Archives by their names and packings; Office documents, books and PDFs by what they say."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from typing import Any

import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter
from pypdf.errors import DependencyError

from atelier.files.inspectors import Inspection, Task, archive, zip_names
from atelier.files.inspectors.office import MAIN_PARTS, OOXML, USUAL_PARTS
from tests.files import samples
from tests.files.conftest import look

DOS, NTFS, UNIX = 0, 11, 3
UTF8_FLAG, DEFLATE64, PPMD = 0x800, 9, 98
NAMES = ["Опись фонда.txt", "Опись фонда/Дело о границах.doc", "Ведомость.xls"]
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
STRICT = "http://purl.oclc.org/ooxml/officeDocument/relationships/officeDocument"
CORE = "http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties"
FACTS = (
    "<?xml version='1.0'?><c xmlns:d='u'><d:title>Опись</d:title><d:creator>Иванов</d:creator></c>"
)


def stored(
    names: list[bytes],
    *,
    flags: int = 0,
    system: int = DOS,
    method: int = 0,
    extra: bytes = b"",
) -> bytes:
    """A zip of entries whose names, flags and packing are given."""
    body = directory = b""
    content = b"abc"
    for name in names:
        common = struct.pack("<HHHHH", 20, flags, method, 0, 0x5821)
        common += struct.pack("<III", zlib.crc32(content), len(content), len(content))
        common += struct.pack("<HH", len(name), len(extra))
        directory += struct.pack("<IBB", 0x02014B50, 20, system) + common
        directory += struct.pack("<HHHII", 0, 0, 0, 32, len(body)) + name + extra
        body += struct.pack("<I", 0x04034B50) + common + name + extra + content
    end = struct.pack("<HHHHIIH", 0, 0, len(names), len(names), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


def unicode_path(told: str, name: bytes) -> bytes:
    """Info-ZIP's field of a name."""
    content = struct.pack("<BI", 1, zlib.crc32(name)) + told.encode()
    return struct.pack("<HH", zip_names.UNICODE_PATH, len(content)) + content


def zip_of(data: bytes, languages: tuple[str, ...] = ("ru", "en")) -> dict[str, Any]:
    """What is found in an archive."""
    return archive.inspect(Task("archive", "application/zip", 1, languages=languages), data).result


@pytest.mark.parametrize(
    ("encoding", "flags", "system"),
    [
        ("cp866", 0, DOS),
        ("cp866", 0, NTFS),
        ("cp1251", 0, DOS),
        ("koi8-r", 0, UNIX),
        ("cp1251", 0, UNIX),
        ("utf-8", 0, DOS),
        ("utf-8", 0, UNIX),
        ("utf-8", UTF8_FLAG, DOS),
    ],
)
def test_names_are_as_they_were_written(encoding: str, flags: int, system: int) -> None:
    """With the flag of UTF-8 or without it, by whatever archiver."""
    data = stored([name.encode(encoding) for name in NAMES], flags=flags, system=system)
    found = zip_of(data)
    assert found["names"] == NAMES
    assert found["damaged"] == 0


def test_names_of_other_languages_are_told_where_they_are_expected() -> None:
    """A Western code page of DOS is not taken for Russian."""
    names = ["Übersicht März.txt", "Gespräche/Müller.doc"]
    data = stored([name.encode("cp850") for name in names])
    assert zip_of(data, ("de", "en"))["names"] == names


def test_a_field_of_the_name_holds_if_its_checksum_does() -> None:
    """It belongs to the name it was made for; after a renaming it is of no use."""
    name = b"________.txt"
    extra = unicode_path("Документ.txt", name)
    assert zip_of(stored([name], extra=extra))["names"] == ["Документ.txt"]
    stale = unicode_path("Документ.txt", b"before.txt")
    assert zip_of(stored([name], extra=stale))["names"] == ["________.txt"]
    before = struct.pack("<HH", 0x5455, 3) + b"abc"
    assert zip_of(stored([name], extra=before + extra))["names"] == ["Документ.txt"]


@given(extra=st.binary(max_size=60), name=st.binary(min_size=1, max_size=30))
def test_any_field_and_name_are_read(extra: bytes, name: bytes) -> None:
    """Whatever they hold there is one name for each entry."""
    info = zipfile.ZipInfo("a")
    info.orig_filename, info.extra = name.decode("cp437"), extra
    info.create_system = len(name) % 4
    assert len(zip_names.names_of([info], ("ru",))) == 1


@pytest.mark.parametrize("method", [DEFLATE64, PPMD, 250])
def test_what_cannot_be_unpacked_here_is_not_damaged(method: int) -> None:
    """It is counted by itself, and neither checked nor damaged."""
    found = zip_of(stored([b"a.txt", b"b.txt"], method=method))
    assert (found["unsupported"], found["checked"], found["damaged"]) == (2, 0, 0)
    assert found["unpacked_size"] == 6


@pytest.mark.parametrize("zeros", [4, 512, 10_240])
def test_compressed_streams_go_on_after_padding(zeros: int) -> None:
    """Zeros between two streams are padding, as they are at the end."""
    for pack, type_ in (
        (gzip.compress, "application/gzip"),
        (bz2.compress, "application/x-bzip2"),
        (lzma.compress, "application/x-xz"),
    ):
        data = pack(b"a" * 1000) + bytes(zeros) + pack(b"b" * 5000) + bytes(zeros)
        found = archive.inspect(Task("archive", type_, 1), data).result
        assert found["unpacked_size"] == 6000


def test_streams_of_other_settings_are_one_file() -> None:
    """A member with a file name, and one of another level, follow each other."""
    named = io.BytesIO()
    with gzip.GzipFile("part1.txt", "wb", fileobj=named) as member:
        member.write(b"a" * 1000)
    data = named.getvalue() + gzip.compress(b"b" * 5000, 1)
    task = Task("archive", "application/gzip", 1)
    assert archive.inspect(task, data).result["unpacked_size"] == 6000
    packed = bz2.compress(b"a" * 1000, 1) + bz2.compress(b"b" * 5000, 9)
    task = Task("archive", "application/x-bzip2", 1)
    assert archive.inspect(task, packed).result["unpacked_size"] == 6000


def package(
    part: str,
    type_: str,
    *,
    facts: bytes = FACTS.encode(),
    kind: str = OFFICE,
    core: str = "docProps/core.xml",
) -> bytes:
    """An Office document whose main part has this name and type."""
    types = f'<Types><Override PartName="/{part.lstrip("/")}" ContentType="{type_}"/></Types>'
    links = (
        f'<Relationships><Relationship Type="{kind}" Target="{part}"/>'
        f'<Relationship Type="{CORE}" Target="{core}"/></Relationships>'
    )
    return samples.zipped(
        {
            "[Content_Types].xml": types.encode(),
            "_rels/.rels": links.encode(),
            part.lstrip("/"): b"<main/>",
            core.lstrip("/"): facts,
        }
    )


WORD = OOXML + "wordprocessingml.document"
KNOWN = {"title": "Опись", "author": "Иванов"}


@pytest.mark.parametrize(
    ("part", "kind", "core"),
    [
        ("word/document2.xml", OFFICE, "docProps/core.xml"),
        ("/word/document.xml", OFFICE, "/docProps/core.xml"),
        ("word/document.xml", STRICT, "docProps/core.xml"),
        ("any/name.xml", OFFICE, "package/services/metadata/core-properties/1.psmdcp"),
    ],
)
def test_a_document_is_where_its_package_says(part: str, kind: str, core: str) -> None:
    """The main part and the facts are those that the relationships name."""
    found = look(None, package(part, WORD + ".main+xml", kind=kind, core=core))
    assert found.content_type == WORD
    assert found.result["document"] == {"format": "docx"} | KNOWN


@pytest.mark.parametrize("main", MAIN_PARTS)
def test_templates_and_macros_have_types_of_their_own(main: str) -> None:
    """A DOCM is no DOCX: by the type of the main part, whatever its name."""
    format_, content_type = MAIN_PARTS[main]
    suffix = ".main" if "binary" in main else ".main+xml"
    found = look(None, package("any/main.xml", main + suffix))
    assert (found.content_type, found.result["document"]["format"]) == (content_type, format_)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_facts_are_read_in_either_form_of_unicode(encoding: str) -> None:
    """With a byte order mark or without."""
    found = look(None, package(USUAL_PARTS[0], WORD + ".main+xml", facts=FACTS.encode(encoding)))
    assert found.result["document"] == {"format": "docx"} | KNOWN


@pytest.mark.parametrize(
    "links",
    [
        b"",
        b"<Relationships",
        b'<R><Relationship Type="x/officeDocument" Target="gone.xml"/></R>',
        b'<!DOCTYPE a [<!ENTITY x "word/document.xml">]><Relationships/>',
        b'<R><Relationship Type="x/officeDocument" Target="../../a"/></R>',
    ],
)
def test_a_package_without_links_is_known_by_the_usual_names(links: bytes) -> None:
    """Whatever stands where its relationships should."""
    data = samples.zipped(
        {"[Content_Types].xml": b"<T/>", "_rels/.rels": links, "word/document.xml": b"<d/>"}
    )
    assert look(None, data).content_type == WORD


def book(container: str, package_file: str, *, path: str = "OEBPS/content.opf") -> bytes:
    """An EPUB."""
    return samples.zipped(
        {
            "mimetype": b"application/epub+zip",
            "META-INF/container.xml": container.encode(),
            path: package_file.encode(),
        }
    )


CONTAINER = (
    '<container xmlns="urn:c"><rootfiles><rootfile full-path="OEBPS/content.opf" '
    'media-type="application/oebps-package+xml"/></rootfiles></container>'
)
OPF = (
    '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="urn:d">'
    "<dc:title>Война и мир</dc:title>{creators}</metadata></package>"
)


@pytest.mark.parametrize(
    ("creators", "author"),
    [
        ("<dc:creator>Лев Толстой</dc:creator>", "Лев Толстой"),
        (
            "<dc:creator>Ильф</dc:creator><dc:creator>Петров</dc:creator>",
            "Ильф, Петров",
        ),
        ("", None),
    ],
)
def test_a_book_has_its_title_and_authors(creators: str, author: str | None) -> None:
    """Those of the package file that the container names."""
    found = look(None, book(CONTAINER, OPF.format(creators=creators))).result["document"]
    assert (found["title"], found.get("author")) == ("Война и мир", author)


@pytest.mark.parametrize(
    "container",
    ["", "<a", samples.BILLION_LAUGHS, CONTAINER.replace("OEBPS/content", "../gone")],
)
def test_a_book_without_a_container_is_a_book(container: str) -> None:
    """Without a title; a hostile container is not read."""
    found = look(None, book(container, OPF.format(creators="")))
    assert found.content_type == "application/epub+zip"
    assert found.result["document"] == {"format": "epub"}


def locked(algorithm: str, user: str = "") -> bytes:
    """A PDF of three pages that an owner has locked, and perhaps for users."""
    writer, made = PdfWriter(io.BytesIO(samples.pdf(3, "Опись дел"))), io.BytesIO()
    writer.encrypt(user, "owner", algorithm=algorithm)
    writer.write(made)
    return made.getvalue()


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256"])
def test_what_an_owner_alone_has_locked_is_read(sandbox: Any, algorithm: str) -> None:
    """Such a document opens in every viewer without a password; the decoder has the ciphers."""
    found = look(sandbox, locked(algorithm)).result
    assert (found["encrypted"], found["pages"], found["title"]) == (True, 3, "Опись дел")
    hidden = look(sandbox, locked(algorithm, "secret")).result
    assert hidden == {"version": hidden["version"], "encrypted": True}


def test_ciphers_that_are_missing_are_no_fault_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The document is processed, and said to be encrypted."""

    def without(*_: object, **__: object) -> None:
        raise DependencyError("cryptography>=3.1 is required for AES algorithm")

    data = locked("AES-256")
    monkeypatch.setattr(pypdf.PdfReader, "_handle_encryption", without)
    found: Inspection = look(None, data)
    assert (found.kind, found.result["encrypted"]) == ("pdf", True)
    assert "pages" not in found.result


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("(A title)", "A title"),
        ("99 0 R", None),
        ("null", None),
        ("5", None),
        ("/None", None),
        ("[(a)]", None),
        ("()", None),
        ("<FEFF041E043F>", "Оп"),
    ],
)
def test_a_title_is_a_text_or_none(written: str, title: str | None) -> None:
    """Never the name of a library's object."""
    data = samples.pdf_of(
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [] /Count 0 >>",
        f"<< /Title {written} >>",
    ).replace(b"/Root 1 0 R", b"/Root 1 0 R /Info 3 0 R")
    assert PdfReader(io.BytesIO(data)).metadata is not None
    assert look(None, data).result["title"] == title


@pytest.mark.parametrize(
    ("before", "version"),
    [
        (b"", "1.3"),
        (b"\n" * 500, "1.3"),
        (b"\x1b%-12345X@PJL JOB\r\n@PJL ENTER LANGUAGE = PDF\r\n", "1.3"),
        (b"\xef\xbb\xbf", "1.3"),
        (bytes(100), "1.3"),
    ],
)
def test_the_version_is_that_of_the_header(before: bytes, version: str) -> None:
    """Wherever it stands; the places in the document are counted from it."""
    found = look(None, before + samples.pdf(1)).result
    assert (found["version"], found["pages"]) == (version, 1)
