"""A file's type, by its content."""

from __future__ import annotations

import pytest

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


def test_truncated_heads_never_raise() -> None:
    """Every beginning of every sample is of some kind."""
    for content, _, _ in KINDS.values():
        for length in range(1, min(len(content), 80)):
            assert detect(content[:length], whole=True).kind
