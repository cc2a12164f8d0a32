"""Small files of every kind, and hostile ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib

from pypdf import PdfWriter


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return made.getvalue()


def tarred(entries: dict[str, bytes]) -> bytes:
    """A tar archive."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def pdf(pages: int = 2, title: str = "A title") -> bytes:
    """A document of some pages."""
    writer, made = PdfWriter(), io.BytesIO()
    for _ in range(pages):
        writer.add_blank_page(100, 100)
    writer.add_metadata({"/Title": title})
    writer.write(made)
    return made.getvalue()


def pdf_of(*objects: str) -> bytes:
    """A document of these objects, numbered from 1, of which the first is the catalogue."""
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    start = len(body)
    return (
        body
        + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}".encode()
        + f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R "
        f">>\nstartxref\n{start}\n%%EOF".encode()
    )


def docx(core: str = "<cp><title>Report</title><creator>Ada</creator></cp>") -> bytes:
    """The skeleton of a Word document."""
    return zipped(
        {
            "[Content_Types].xml": b"<Types/>",
            "word/document.xml": b"<document/>",
            "docProps/core.xml": core.encode(),
        }
    )


ODT = zipped(
    {
        "mimetype": b"application/vnd.oasis.opendocument.text",
        "meta.xml": b"<m><title>Notes</title></m>",
    }
)
TAR = tarred({"a.txt": b"alpha", "folder/b.txt": b"beta"})
COMPRESSED_TARS = {
    "gzip": gzip.compress(TAR),
    "bzip2": bz2.compress(TAR),
    "xz": lzma.compress(TAR),
}
BILLION_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x0 "ha">'
    + "".join(f'<!ENTITY x{n} "{f"&x{n - 1};" * 10}">' for n in range(1, 10))
    + "]><a><title>&x9;</title></a>"
)


def zip_bomb() -> bytes:
    """300 MB of zeros in 300 KB."""
    return zipped({f"{n}.bin": bytes(10_000_000) for n in range(30)})


def lying_zip() -> bytes:
    """An entry that says it holds 10 bytes and unpacks to 100 MB."""
    honest = zipped({"a.bin": bytes(100_000_000)})
    size, lie = (100_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    return honest.replace(size, lie)


def gzip_bomb() -> bytes:
    """256 MiB of zeros as one gzip stream of about one."""
    packer = zlib.compressobj(1, wbits=31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(256)) + packer.flush()
