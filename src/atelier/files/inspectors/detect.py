"""The kind of a file by its first bytes: never by its name, nor by its declared type.

Cheap enough for a web process: it compares, decodes and splits a few kilobytes, and parses nothing
that can be nested.
"""

from __future__ import annotations

import codecs
import csv
import re
from contextlib import suppress

from atelier.files.inspectors import Found
from atelier.imaging.signatures import SIGNATURES

OTHER = Found("other", "application/octet-stream")
PLAIN = "text/plain"
SAMPLE_CHARACTERS = 16 * 1024  # of a text, for telling CSV and JSON from prose
CSV_LINES = 50
DELIMITERS = ",;\t|"
PDF_WITHIN = 1024  # bytes before `%PDF-` that readers tolerate
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # sizes in bytes
BLOCK = 512  # of a tar archive
STRANGE_SHARE = 0.01  # of control characters, above which an 8-bit file is not text
HEAD_BYTES = 64 * 1024  # enough to judge by
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # first, because it begins like UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MAGIC = (
    *((magic, Found("image", f"image/{name.lower()}")) for magic, name in SIGNATURES),
    (b"PK\x03\x04", Found("archive", "application/zip")),
    (b"PK\x05\x06", Found("archive", "application/zip")),  # an empty one
    (b"\x1f\x8b\x08", Found("archive", "application/gzip")),
    (b"BZh", Found("archive", "application/x-bzip2")),
    (b"\xfd7zXZ\0", Found("archive", "application/x-xz")),
)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\x1b\b")) + b"\x7f"
_WIDE_CONTROLS = re.compile(r"[\x00-\x07\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_JSON = re.compile(r'\s*(?:\{\s*(?:"|\}|$)|\[\s*(?:[\[\]{"\d]|-\d|true\b|false\b|null\b|$))')
_MARKUP = (
    (re.compile(r"\s*<(?:!doctype html|html)\b", re.IGNORECASE), "text/html"),
    (re.compile(r"\s*(?:<\?xml\b.*?)?<svg\b", re.IGNORECASE | re.DOTALL), "image/svg+xml"),
    (re.compile(r"\s*<\?xml\b"), "application/xml"),
)


def detect(head: bytes, *, whole: bool) -> Found:
    """The kind of a file that begins with `head`, or is all of it."""
    for magic, found in MAGIC:
        if head.startswith(magic):
            return found
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Found("image", "image/webp")
    if _is_bmp(head):
        return Found("image", "image/bmp")
    if b"%PDF-" in head[: PDF_WITHIN + 5]:
        return Found("pdf", "application/pdf")
    if is_tar(head):
        return Found("archive", "application/x-tar")
    encoding = guess_encoding(head, whole=whole)
    return OTHER if encoding is None else _kind_of_text(decoded(head, encoding), whole=whole)


def _is_bmp(head: bytes) -> bool:
    """True for a bitmap's header.

    `BM` alone begins many words: the reserved field must be zero, and the header's size known.
    """
    return (
        head[:2] == b"BM"
        and head[6:10] == bytes(4)
        and int.from_bytes(head[14:18], "little") in BMP_HEADERS
    )


def is_tar(head: bytes) -> bool:
    """True for a tar archive, by its first header's checksum, which old formats have too."""
    block = head[:BLOCK]
    if len(block) < BLOCK:
        return False
    try:
        stated = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return sum(block[:148]) + 8 * ord(" ") + sum(block[156:]) == stated


def guess_encoding(head: bytes, *, whole: bool) -> str | None:
    """The encoding of a text, or None if it is no text.

    `8-bit` is one that only its letters can tell.
    """
    for bom, encoding in BOMS:
        if head.startswith(bom):
            return encoding
    wide = _wide(head)
    if wide is not None:
        return (
            wide
            if _decodes(head, wide, whole=whole) and not _WIDE_CONTROLS.search(decoded(head, wide))
            else None
        )
    strange = len(head) - len(head.translate(None, _CONTROLS))
    if b"\0" in head or strange > len(head) * STRANGE_SHARE:
        return None
    return "utf-8" if _decodes(head, "utf-8", whole=whole) else "8-bit"


def _wide(head: bytes) -> str | None:
    """UTF-16 and UTF-32 without a byte order mark.

    Of their ASCII letters every other byte, or three of four, is NUL.
    """
    sample = head[:4096]
    quarter = len(sample) // 4
    nuls = [sample[place::4].count(0) for place in range(4)]
    if quarter and not any(sample[i : i + 4] == bytes(4) for i in range(0, quarter * 4, 4)):
        if min(nuls[1], nuls[2], nuls[3]) > quarter * 0.7 and not nuls[0]:
            return "utf-32-le"
        if min(nuls[0], nuls[1], nuls[2]) > quarter * 0.7 and not nuls[3]:
            return "utf-32-be"
    half = len(sample) // 2
    if sample[1::2].count(0) > half * 0.3 and not sample[::2].count(0):
        return "utf-16-le"
    if sample[::2].count(0) > half * 0.3 and not sample[1::2].count(0):
        return "utf-16-be"
    return None


def _decodes(head: bytes, encoding: str, *, whole: bool) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        decoder.decode(head, final=whole)
    except UnicodeDecodeError:
        return False
    return True


def decoded(head: bytes, encoding: str) -> str:
    """The beginning of a text; undecodable bytes do not matter here."""
    return codecs.getincrementaldecoder("latin-1" if encoding == "8-bit" else encoding)(
        "replace"
    ).decode(head)


def _kind_of_text(text: str, *, whole: bool) -> Found:
    sample = text[:SAMPLE_CHARACTERS]
    for pattern, content_type in _MARKUP:
        if pattern.match(sample):
            return Found("text", content_type)
    if _JSON.match(sample):
        return Found("json", "application/json")
    if delimiter(sample, whole=whole and len(text) <= SAMPLE_CHARACTERS):
        return Found("csv", "text/csv")
    return Found("text", PLAIN)


def delimiter(sample: str, *, whole: bool) -> str | None:
    """The column separator of a table, or None.

    With it two or more rows have the same number of columns, two or more.
    """
    lines = sample.splitlines(keepends=True)
    if not whole:
        lines = lines[:-1]
    lines = lines[:CSV_LINES]
    best, best_width = None, 1
    for candidate in DELIMITERS:
        width = _width(lines, candidate)
        if width > best_width:
            best, best_width = candidate, width
    return best


def _width(lines: list[str], candidate: str) -> int:
    """The columns of a table; 0 if it is none. One row in ten may differ, as tables by hand do."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        rows = [row for row in csv.reader(lines, delimiter=candidate) if row]
    if len(rows) < 2:
        return 0
    widths = [len(row) for row in rows]
    common = max(set(widths), key=widths.count)
    return common if widths.count(common) >= max(2, len(rows) * 0.9) else 0
