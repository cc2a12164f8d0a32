"""Names of entries in a zip archive: which characters their bytes mean.

A flag says UTF-8; without it they are in the code page of whoever packed them, which no field
tells, and which `zipfile` takes for CP437. Info-ZIP's field has the name in UTF-8 beside it.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence

from atelier.files.inspectors import encodings

UTF8_FLAG = 0x800
UNICODE_PATH = 0x7075  # Info-ZIP's APPNOTE, 4.6.9
UNIX = 3  # the system whose archivers know no code page of DOS
SAMPLE_NAMES = 1000  # by which the encoding of all is told


def names_of(infos: Sequence[zipfile.ZipInfo], languages: Sequence[str]) -> list[str]:
    """The names as they were written, in the order of the entries; takes linear time."""
    raw = [_raw(info) for info in infos]
    unknown = [name for name in raw if name is not None and not _is_utf8(name)][:SAMPLE_NAMES]
    encoding = "utf-8"
    if unknown:
        unix = all(info.create_system == UNIX for info in infos)
        encoding = encodings.guess(b"\n".join(unknown), languages, oem=not unix).encoding
    return [
        info.filename if name is None else _read(name, encoding)
        for info, name in zip(infos, raw, strict=True)
    ]


def _raw(info: zipfile.ZipInfo) -> bytes | None:
    """The bytes of a name in no known encoding, or those of its field; None if it is told."""
    if info.flag_bits & UTF8_FLAG or (info.orig_filename.isascii() and not info.extra):
        return None
    name = info.orig_filename.encode("cp437")
    for kind, field in _fields(info.extra):
        if kind == UNICODE_PATH and field[:1] == b"\1":
            told = int.from_bytes(field[1:5], "little") == zlib.crc32(name)
            return field[5:] if told and _is_utf8(field[5:]) else name
    return name


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """The extra fields of an entry: kind, and content; nothing after one that is cut off."""
    place = 0
    while place + 4 <= len(extra):
        kind, size = (int.from_bytes(extra[at : at + 2], "little") for at in (place, place + 2))
        if place + 4 + size > len(extra):
            return
        yield kind, extra[place + 4 : place + 4 + size]
        place += 4 + size


def _read(name: bytes, encoding: str) -> str:
    return name.decode("utf-8" if _is_utf8(name) else encoding, "replace")


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
