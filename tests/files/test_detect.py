"""A file's type, by its content."""

from __future__ import annotations

import io
import json

import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from atelier.files.inspectors import Task, image, isobmff, other
from atelier.files.inspectors.detect import detect
from tests.files.conftest import PHOTOS
from tests.files.samples import COMPRESSED_TARS, ODT, TAR, docx, pdf, zipped

PHOTO = (PHOTOS / "waterfall_640x480.jpg").read_bytes()
PROSE = (
    b"It was a dark, stormy night; the rain fell\nin torrents, except at occasional "
    b"intervals,\nwhen it did not.\n"
)

KINDS = {
    "jpeg": (PHOTO, "image", "image/jpeg"),
    "png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "image", "image/png"),
    "gif": (b"GIF89a" + b"\0" * 40, "image", "image/gif"),
    "webp": (b"RIFF\x10\0\0\0WEBPVP8 ", "image", "image/webp"),
    "bmp": (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "image", "image/bmp"),
    "tiff": (b"II*\0\x08\0\0\0", "image", "image/tiff"),
    "bigtiff": (b"II+\0\x08\0\0\0" + b"\x10" + b"\0" * 7, "image", "image/tiff"),
    "pdf": (pdf(), "pdf", "application/pdf"),
    "pdf after rubbish": (b"\n\n\n" + pdf(), "pdf", "application/pdf"),
    "zip": (zipped({"a": b"b"}), "archive", "application/zip"),
    "empty zip": (zipped({}), "archive", "application/zip"),
    "docx": (docx(), "archive", "application/zip"),
    "odt": (ODT, "archive", "application/zip"),
    "tar": (TAR, "archive", "application/x-tar"),
    "tar.gz": (COMPRESSED_TARS["gzip"], "archive", "application/gzip"),
    "tar.bz2": (COMPRESSED_TARS["bzip2"], "archive", "application/x-bzip2"),
    "tar.xz": (COMPRESSED_TARS["xz"], "archive", "application/x-xz"),
    "prose": (PROSE, "text", "text/plain"),
    "one word": (b"word", "text", "text/plain"),
    "a word that begins like a bitmap": (
        b"BMW is a car, and this is a text.",
        "text",
        "text/plain",
    ),
    "html": (b"<!DOCTYPE html><p>hello", "text", "text/html"),
    "svg": (
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "text",
        "image/svg+xml",
    ),
    "xml": (b'<?xml version="1.0"?><a/>', "text", "application/xml"),
    "log": (b"[INFO] started\n[INFO] stopped\n", "text", "text/plain"),
    "cyrillic": ("Привет, мир".encode(), "text", "text/plain"),
    "cp1251": ("Привет, мир".encode("cp1251"), "text", "text/plain"),
    "utf-16 with a mark": ("hello".encode("utf-16"), "text", "text/plain"),
    "utf-16 without": ("hello there, world".encode("utf-16-le"), "text", "text/plain"),
    "utf-16 big end first": ("hello there, world".encode("utf-16-be"), "text", "text/plain"),
    "utf-32 without": ("hello there, world".encode("utf-32-le"), "text", "text/plain"),
    "utf-32 big end first": ("hello there, world".encode("utf-32-be"), "text", "text/plain"),
    "a cut character": ("é".encode()[:1] * 1 + b"", "text", "text/plain"),
    "csv": (b"name,age\nada,36\nbob,41\n", "csv", "text/csv"),
    "semicolons": (b"name;age\nada;36,5\nbob;41,0\n", "csv", "text/csv"),
    "tabs": (b"a\tb\tc\n1\t2\t3\n", "csv", "text/csv"),
    "quoted": (b'"a","b"\n"1,1","2\n2"\n', "csv", "text/csv"),
    "json object": (b' {"a": 1}', "json", "application/json"),
    "json array": (b"[1, 2]", "json", "application/json"),
    "empty object": (b"{}", "json", "application/json"),
    "broken json": (b'{"a": 1,}', "json", "application/json"),
    "json in utf-16": ('{"a": 1}'.encode("utf-16"), "json", "application/json"),
    "braces of a program": (b"{ int a; }", "text", "text/plain"),
    "log of bracketed dates": (b"[2026-11-30 10:00:00] on\n", "text", "text/plain"),
    "footnotes": (b"[1] Smith, A book.\n[2] Doe, Another.\n", "text", "text/plain"),
    "checklist": (b"[ ] buy\n[x] sell\n", "text", "text/plain"),
    "numbers in prose": (b"[12, 13, 14] are the rows", "text", "text/plain"),
    "a changelog": (b"[1.2.3] - 2026-01-01\n### Added\n", "text", "text/plain"),
    "a settings file": (b"[main]\nkey = 1\n", "text", "text/plain"),
    "an empty pair in prose": (b"{} is an empty object", "text", "text/plain"),
    "numbers": (b"[1, -2.5, 3e4]", "json", "application/json"),
    "numbers, broken at the end": (b"[1, 2, ]", "json", "application/json"),
    "strings, broken": (b'["a", "b" 3]', "json", "application/json"),
    "lines of arrays": (b"[1, 2]\n[3, 4]\n", "json", "application/json"),
    "objects, cut": (b'[{"a": 1}, {"b"', "json", "application/json"),
    "a string, cut": (b'{"a', "json", "application/json"),
    "a note on pdf": (b"# A PDF\nIt begins with %PDF-1.7 and\n", "text", "text/plain"),
    "a line that names pdf": (b"%PDF-1.7 is how it begins\n", "text", "text/plain"),
    "a program with pdf's sign": (b'SIGNS = {b"%PDF-": "pdf"}\n', "text", "text/plain"),
    "a page with pdf's sign": (b"<!doctype html><p>%PDF-1.4</p>\n", "text", "text/html"),
    "a manual with a pdf in it": (
        b"Write:\n%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
        "text",
        "text/plain",
    ),
    "a print job": (b"\x1b%-12345X@PJL JOB\r\n" + pdf(), "pdf", "application/pdf"),
    "an answer with a pdf": (
        b"HTTP/1.1 200 OK\r\n\r\n%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        "pdf",
        "application/pdf",
    ),
    "a pdf of a version that is none": (b"%PDF-x\n1 0 obj\n", "pdf", "application/pdf"),
    "gif's sign in prose": (b"GIF89a is an old format\n", "text", "text/plain"),
    "bzip2's sign in prose": (b"BZh91 is a word of few\n", "text", "text/plain"),
    "elf": (b"\x7fELF\x02\x01\x01" + bytes(60), "other", "application/octet-stream"),
    "zeros": (bytes(600), "other", "application/octet-stream"),
    "noise": (bytes(range(256)) * 4, "other", "application/octet-stream"),
    "one zero": (b"\0", "other", "application/octet-stream"),
}


@pytest.mark.parametrize("name", KINDS)
def test_kind_is_judged_by_content(name: str) -> None:
    """Each sort of file is what its bytes say."""
    content, kind, content_type = KINDS[name]
    assert detect(content, whole=True) == (kind, content_type)


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_head_may_end_inside_a_character(cut: int) -> None:
    """Where the head of a longer file is cut does not make a text something else."""
    head = ("я" * 100).encode()[:-cut]
    assert detect(head, whole=False).kind == "text"


@pytest.mark.parametrize(
    ("major", "others", "content_type"),
    [
        (b"heic", b"mif1heic", "image/heic"),
        (b"mif1", b"mif1heic", "image/heic"),
        (b"mif1", b"miafavif", "image/avif"),
        (b"mif1", b"miaf", "image/heif"),
        (b"msf1", b"hevc", "image/heic-sequence"),
        (b"avif", b"mif1", "image/avif"),
        (b"crx ", b"isom", "image/x-canon-cr3"),
        (b"isom", b"iso2mp41", "video/mp4"),
        (b"mp42", b"isom", "video/mp4"),
        (b"iso9", b"", "video/mp4"),
        (b"qt  ", b"", "video/quicktime"),
        (b"M4A ", b"isommp42", "audio/mp4"),
        (b"3gp5", b"isom", "video/3gpp"),
        (b"3g2a", b"", "video/3gpp2"),
        (b"what", b"isom", "video/mp4"),
        (b"what", b"", "application/octet-stream"),
        (b"jp2 ", b"jp2 ", "image/jp2"),
        (b"jpx ", b"jp2 ", "image/jpx"),
        (b"mjp2", b"", "video/mj2"),
    ],
)
def test_files_of_boxes_are_what_their_brands_say(
    major: bytes, others: bytes, content_type: str
) -> None:
    """The major brand decides; where it is vague, the others."""
    size = (16 + len(others)).to_bytes(4, "big")
    content = size + b"ftyp" + major + bytes(4) + others + b"\0\0\0\x08mdat" + bytes(20)
    if major.startswith((b"jp", b"mj")):
        content = isobmff.JPEG2000 + content
    found = other.inspect(Task("other", "application/octet-stream", 1), content)
    assert found.content_type == content_type


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (isobmff.JPEG2000 + bytes(20), "image/jp2"),
        (isobmff.CODESTREAM + bytes(20), "image/j2c"),
        (isobmff.JXL + bytes(20), "image/jxl"),
        (b"\xff\xff\xff\xffftypheic" + bytes(9), "image/heic"),
        (b"\0\0\0\x08ftyp" + bytes(20), "application/octet-stream"),
    ],
)
def test_signatures_of_boxes_are_enough(content: bytes, content_type: str) -> None:
    """A size that is a lie does not matter; one that leaves no brand does."""
    found = other.inspect(Task("other", "application/octet-stream", 1), content)
    assert found.content_type == content_type


@given(st.text('[]{},:"0a-. \n\\', max_size=60))
def test_what_a_parser_reads_is_claimed(text: str) -> None:
    """Any whole object or array of JSON is of that kind."""
    try:
        value = json.loads(text)
    except ValueError:
        return
    if isinstance(value, list | dict):
        assert detect(text.encode(), whole=True).kind == "json"


def test_truncated_heads_never_raise() -> None:
    """Every beginning of every sample is of some kind."""
    for content, _, _ in KINDS.values():
        for length in range(1, min(len(content), 80)):
            assert detect(content[:length], whole=True).kind


@pytest.mark.parametrize(
    ("name", "content_type"), [("HEIF", "image/heic"), ("AVIF", "image/avif")]
)
def test_pictures_in_boxes_are_looked_into(name: str, content_type: str) -> None:
    """HEIC and AVIF are pictures, with a size and a thumbnail."""
    pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), "red").save(buffer, name)
    found = detect(buffer.getvalue(), whole=True)
    assert (found.kind, found.content_type) == ("image", content_type)
    task = Task(found.kind, found.content_type, 10_000)
    seen = image.inspect(task, buffer.getvalue())
    assert (seen.content_type, seen.result["width"], seen.result["height"]) == (
        content_type,
        60,
        40,
    )
    assert seen.thumbnail
