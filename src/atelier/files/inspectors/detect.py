"""The kind of a file by its first bytes: never by its name, nor by its declared type.

A kind is claimed when its parser would get through the first tokens. A signature that is binary
beats any guess; one of printable characters counts only where no text could have it.

Cheap enough for a web process: it compares, decodes and splits a few kilobytes, and parses nothing
that can be nested.
"""

from __future__ import annotations

import codecs
import re

from atelier.files.inspectors import Found, isobmff
from atelier.files.inspectors.delimited import delimiter
from atelier.imaging.signatures import SIGNATURES

OTHER = Found("other", "application/octet-stream")
DECODED = (isobmff.HEIC, isobmff.AVIF)  # of the pictures in boxes, those that are looked into
PLAIN = "text/plain"
SAMPLE_CHARACTERS = 16 * 1024  # of a text, for telling JSON and markup
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
    *(
        (b"BZh%d" % level + block, Found("archive", "application/x-bzip2"))
        for level in range(1, 10)
        for block in (b"1AY&SY", b"\x17rE8P\x90")  # of the first block, or of an empty file
    ),
    (b"\xfd7zXZ\0", Found("archive", "application/x-xz")),
)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b\b")) + b"\x7f"
_WIDE_CONTROLS = re.compile(r"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
_PRINTED = re.compile(rb"[\t\n\r\x20-\x7e]*")
# `%PDF-` and a version, with nothing on its line but a comment or what is no text; or an object.
_PDF = re.compile(
    rb"%PDF-(?:\d\.\d+|[^\r\n]{0,16}(?=\s+\d+\s+\d+\s+obj\b))[\0\t\f ]*(?:[\r\n%\x80-\xff]|$)"
)
_PRINTER = (b"\x1b%-12345X", b"@PJL")  # what a print job begins with
_OBJECT = re.compile(rb"\b\d+\s+\d+\s+obj\b")
# The first tokens of JSON. Brackets begin logs, checklists and footnotes as well: an array of
# plain values must come to its end, an object to its first colon. Nothing here goes back.
_STRING = r'"(?:[^"\\\x00-\x1f]|\\.)*+"'
_SCALAR = rf"(?:{_STRING}|(?:-?\d++(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.]))"
_END = r"\s*+(?:\Z|[,\]}\[{])"  # of a value: more values may follow on lines of their own
_MEMBERS = rf'\{{\s*+(?:{_STRING}\s*+:|"[^"]*+\Z|\}}{_END}|\Z)'
_JSON = re.compile(
    rf"\ufeff?\s*+(?:{_MEMBERS}|\[\s*+(?>(?:\[\s*+)*)(?:{_STRING}\s*+,\s*+\"|"
    rf"(?>(?:{_SCALAR}\s*+,\s*+)*)(?:{_SCALAR}\s*+)?(?:\]{_END}|{_MEMBERS}|\[|\"[^\"]*+\Z|\Z)))"
)
_MARKUP = (
    (re.compile(r"\s*<(?:!doctype html|html)\b", re.IGNORECASE), "text/html"),
    (re.compile(r"\s*(?:<\?xml\b.*?)?<svg\b", re.IGNORECASE | re.DOTALL), "image/svg+xml"),
    (re.compile(r"\s*<\?xml\b"), "application/xml"),
)


def detect(head: bytes, *, whole: bool) -> Found:
    """The kind of a file that begins with `head`, or is all of it."""
    for magic, found in MAGIC:
        if head.startswith(magic) and not _is_printed(head, magic):
            return found
    if (picture := _picture(head)) is not None:
        return picture
    if pdf_header(head) is not None:
        return Found("pdf", "application/pdf")
    if is_tar(head):
        return Found("archive", "application/x-tar")
    encoding = guess_encoding(head, whole=whole)
    return OTHER if encoding is None else _kind_of_text(decoded(head, encoding), whole=whole)


def _picture(head: bytes) -> Found | None:
    """The picture whose signature is not all at its beginning."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Found("image", "image/webp")
    if _is_bmp(head):
        return Found("image", "image/bmp")
    boxes = isobmff.describe(head)
    return Found("image", boxes.content_type) if boxes in DECODED else None


def _is_printed(head: bytes, magic: bytes) -> bool:
    """True if a signature of letters, as GIF's is, begins a text."""
    return len(head) > len(magic) and bool(_PRINTED.fullmatch(head[:PDF_WITHIN]))


def pdf_header(head: bytes) -> int | None:
    """Where a PDF's `%PDF-` stands: at the beginning, or after what its readers tolerate.

    That is white space, a print job's header, or anything else if objects follow and no text.
    """
    place = head.find(b"%PDF-", 0, PDF_WITHIN + 5)
    while place >= 0:
        if _PDF.match(head, place) and (
            not head[:place].strip(b"\0\t\n\f\r ").removeprefix(codecs.BOM_UTF8)
            or head.startswith(_PRINTER)
            or (
                _OBJECT.search(head, place)
                and guess_encoding(head, whole=False) not in {"utf-8", "utf-8-sig"}
            )
        ):
            return place
        place = head.find(b"%PDF-", place + 1, PDF_WITHIN + 5)
    return None


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
    if delimiter(text, whole=whole):
        return Found("csv", "text/csv")
    return Found("text", PLAIN)
