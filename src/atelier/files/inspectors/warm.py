"""Loads everything the inspectors may need later, for a process about to give up its files."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import tarfile
import zipfile
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import puremagic
from PIL import Image
from pypdf import PdfWriter

from atelier.errors import AtelierError
from atelier.files.inspectors import Task, encodings
from atelier.files.inspectors.detect import detect
from atelier.files.inspectors.table import inspect
from atelier.imaging.warm import warm_up as warm_up_imaging

ENCODINGS = (
    *encodings.EVERY, "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le",
    "utf-32-be", "latin-1", "ascii", "idna", "raw_unicode_escape", "unicode_escape", "charmap",
    "mac_roman",
)  # fmt: skip


def warm_up() -> None:
    """Inspects one small file of each kind."""
    warm_up_imaging()
    for encoding in ENCODINGS:
        codecs.lookup(encoding)
    for data in samples():
        found = detect(data, whole=True)
        with suppress(AtelierError):
            inspect(Task(found.kind, found.content_type, 1_000_000), data)
    puremagic.magic_string(b"OggS\0\x02")
    np.zeros(1)


def samples() -> list[bytes]:
    """One small file of each kind."""
    archive, tar, picture = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("[Content_Types].xml", "<a/>")
        file.writestr("word/document.xml", "<a/>")
        file.writestr("docProps/core.xml", "<a><title>t</title></a>")
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as bundle:
        member = tarfile.TarInfo("\u044f" * 120)
        member.size = 1
        bundle.addfile(member, io.BytesIO(b"x"))
    Image.new("RGB", (3, 3)).save(picture, "JPEG")
    packed = [pack(tar.getvalue()) for pack in (gzip.compress, bz2.compress, lzma.compress)]
    texts = [
        b"plain words",
        "слово и дело".encode("cp1251"),
        b"a,b\n1,2\n",
        b'{"a": [1]}',
        b"{oops",
        "é".encode("utf-16"),
    ]
    return [
        archive.getvalue(),
        tar.getvalue(),
        *packed,
        picture.getvalue(),
        pdf(),
        *map(pdf, ("RC4-128", "AES-256") if find_spec("cryptography") else ()),
        *texts,
        b"\x00\x01\x02",
        b"%PDF-1.4\nbroken",
    ]


def pdf(algorithm: str | None = None) -> bytes:
    """A document of one page, locked with a cipher if one is named."""
    writer, made = PdfWriter(), io.BytesIO()
    writer.add_blank_page(100, 100)
    writer.add_metadata({"/Title": "t"})
    if algorithm:
        writer.encrypt("", "owner", algorithm=algorithm)
    writer.write(made)
    return made.getvalue()
