"""The details found in files of each kind, hostile ones included, in a worker's sandbox."""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import re
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from atelier.errors import AtelierError
from atelier.files.inspectors import Inspection, Task, warm
from atelier.files.inspectors.detect import detect
from atelier.files.inspectors.table import PROCESSORS, inspect
from tests.files import samples
from tests.files.conftest import PHOTOS, look

if TYPE_CHECKING:
    from atelier.sandbox.sandbox import Sandbox

PHOTO = (PHOTOS / "Landscape_6.jpg").read_bytes()
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 20

TYPES = {"archive": "application/gzip", "image": "image/png"}

FOUND: dict[str, tuple[bytes, str, dict[str, Any]]] = {
    "image": (
        PHOTO,
        "image/jpeg",
        {"format": "JPEG", "width": 1800, "height": 1200, "orientation": 6, "frames": 1},
    ),
    "text": (
        b"one two\nthree\r\n",
        "text/plain",
        {
            "encoding": "utf-8",
            "bom": False,
            "lines": 2,
            "words": 3,
            "line_ends": "mixed",
            "characters": 15,
        },
    ),
    "text without a last end": (
        b"one\ntwo",
        "text/plain",
        {"lines": 2, "line_ends": "lf", "longest_line": 3},
    ),
    "crlf": (b"one\r\ntwo\r\n", "text/plain", {"lines": 2, "line_ends": "crlf"}),
    "old mac": (b"one\rtwo\r", "text/plain", {"lines": 2, "line_ends": "cr"}),
    "no end at all": (b"word", "text/plain", {"lines": 1, "line_ends": "none", "words": 1}),
    "utf-8 mark": (
        codecs.BOM_UTF8 + b"hi",
        "text/plain",
        {"encoding": "utf-8-sig", "bom": True, "characters": 2},
    ),
    "utf-16": (
        "hi there".encode("utf-16"),
        "text/plain",
        {"encoding": "utf-16", "bom": True, "words": 2},
    ),
    "utf-16 unmarked": (
        "hi there, you".encode("utf-16-be"),
        "text/plain",
        {"encoding": "utf-16-be", "words": 3},
    ),
    "cp1251": (RUSSIAN.encode("cp1251"), "text/plain", {"encoding": "cp1251", "words": 200}),
    "koi8-r": (RUSSIAN.encode("koi8-r"), "text/plain", {"encoding": "koi8_r", "words": 200}),
    "ascii that ends in cp1251": (
        b"plain words " * 20_000 + RUSSIAN.encode("cp1251"),
        "text/plain",
        {"encoding": "cp1251", "words": 40_200},
    ),
    "csv": (
        b"name,age\nada,36\nbob,41\n",
        "text/csv",
        {
            "rows": 2,
            "columns": 2,
            "header": ["name", "age"],
            "delimiter": ",",
            "valid": True,
            "ragged_rows": 0,
        },
    ),
    "csv without header": (
        b"1;2;3\n4;5;6\n",
        "text/csv",
        {"rows": 2, "columns": 3, "header": None, "delimiter": ";"},
    ),
    "ragged csv": (
        b"a,b\n" + b"1,2\n" * 20 + b"1\n",
        "text/csv",
        {"rows": 21, "columns": 2, "ragged_rows": 1},
    ),
    "unclosed csv": (
        b"a,b\n" + b"1,2\n" * 30_000 + b'"x,y\n',
        "text/csv",
        {"valid": False, "error": "line 30002: unexpected end of data"},
    ),
    "json": (
        b'{"a": [1, {"b": null}], "c": 2}',
        "application/json",
        {
            "valid": True,
            "format": "document",
            "type": "object",
            "length": 2,
            "keys": ["a", "c"],
            "depth": 3,
        },
    ),
    "json array": (
        b'[1, "x", null]',
        "application/json",
        {"type": "array", "element_types": ["null", "number", "string"]},
    ),
    "broken json": (b'{"a": 1,}', "application/json", {"valid": False, "line": 1, "column": 8}),
    "json lines": (
        b'{"a": 1}\n{"a": 2}\n',
        "application/x-ndjson",
        {"format": "lines", "records": 2, "valid": True},
    ),
    "json in utf-16": (
        '{"a": 1}'.encode("utf-16"),
        "application/json",
        {"valid": True, "encoding": "utf-16"},
    ),
    "pdf": (
        samples.pdf(3),
        "application/pdf",
        {"pages": 3, "title": "A title", "encrypted": False, "text_pages": 3},
    ),
    "zip": (
        samples.zipped({"a.txt": b"alpha", "b/": b""}),
        "application/zip",
        {
            "entries": 2,
            "folders": 1,
            "unpacked_size": 5,
            "names": ["a.txt", "b/"],
            "checked": 2,
            "damaged": 0,
        },
    ),
    "docx": (
        samples.docx(),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        {"document": {"format": "docx", "title": "Report", "author": "Ada"}},
    ),
    "odt": (
        samples.ODT,
        "application/vnd.oasis.opendocument.text",
        {"document": {"format": "text", "title": "Notes"}},
    ),
    "tar": (samples.TAR, "application/x-tar", {"format": "tar", "entries": 2, "unpacked_size": 9}),
    "tar.gz": (
        samples.COMPRESSED_TARS["gzip"],
        "application/x-tar+gzip",
        {"format": "tar+gzip", "entries": 2},
    ),
    "tar.bz2": (
        samples.COMPRESSED_TARS["bzip2"],
        "application/x-tar+bzip2",
        {"entries": 2, "unpacked_size": 9},
    ),
    "tar.xz": (
        samples.COMPRESSED_TARS["xz"],
        "application/x-tar+xz",
        {"names": ["a.txt", "folder/b.txt"]},
    ),
    "gz": (
        gzip.compress(b"x" * 1000),
        "application/gzip",
        {"format": "gzip", "entries": 1, "unpacked_size": 1000},
    ),
    "two gz in a row": (gzip.compress(b"x" * 10) * 2, "application/gzip", {"unpacked_size": 20}),
    "gz with padding": (
        gzip.compress(b"x" * 10) + bytes(512),
        "application/gzip",
        {"unpacked_size": 10},
    ),
    "elf": (
        b"\x7fELF\x02\x01\x01" + bytes(60),
        "application/octet-stream",
        {"description": "ELF executable"},
    ),
    "unknown": (b"\0\1\2\3", "application/octet-stream", {"description": ""}),
}


@pytest.mark.parametrize("name", FOUND)
def test_each_kind_is_looked_into(sandbox: Sandbox[Inspection], name: str) -> None:
    """The result says what a person would want to know, and is JSON."""
    content, content_type, expected = FOUND[name]
    found = look(sandbox, content)
    assert found == look(None, content)
    assert found.content_type == content_type
    assert {key: found.result.get(key) for key in expected} == expected
    assert json.loads(json.dumps(found.result, allow_nan=False)) == found.result


def test_a_picture_has_a_thumbnail(sandbox: Sandbox[Inspection]) -> None:
    """It is small, upright and of the size that the result tells."""
    found = look(sandbox, PHOTO)
    assert found.thumbnail is not None
    assert (found.thumbnail.width, found.thumbnail.height) == (200, 133)
    assert detect(found.thumbnail.data, whole=True).kind == "image"
    assert found.result["thumbnail"]["size"] == len(found.thumbnail.data)


HUGE_BMP = b"BM" + bytes(12) + b"\x28\0\0\0" + b"\xff\xff\0\0" * 2 + b"\1\0\x18\0" + bytes(24)
WIDE_BOMB = samples.zipped(
    {"mimetype": b"application/epub+zip", "meta.xml": samples.BILLION_LAUGHS.encode("utf-16")}
)
DEEP = b"[" * 100_000 + b"]" * 100_000
LOOP = samples.pdf_of(
    "<< /Type /Catalog /Pages 2 0 R >>",
    "<< /Type /Pages /Kids [2 0 R] /Count 1000000000 /Parent 2 0 R >>",
)
HOSTILE: dict[str, tuple[bytes, str | None]] = {
    "zip bomb": (samples.zip_bomb(), "archive-bomb"),
    "gzip bomb": (samples.gzip_bomb(), "archive-bomb"),
    "tar of a bomb": (gzip.compress(samples.tarred({"a": bytes(100_000_000)})), "archive-bomb"),
    "zip without its end": (samples.zipped({"a": b"b" * 1000})[:-30], "bad-archive"),
    "gzip without its end": (gzip.compress(bytes(range(256)) * 100)[:-50], "bad-archive"),
    "xz without its end": (samples.COMPRESSED_TARS["xz"][:100], "bad-archive"),
    "gzip of rubbish": (b"\x1f\x8b\x08" + b"\xff" * 100, "bad-archive"),
    "tar with a negative size": (samples.TAR[:124] + b"\xff" * 12 + samples.TAR[136:], None),
    "too many gzip streams": (gzip.compress(b"") * 100_001, "too-many-entries"),
    "too many bzip2 streams": (bz2.compress(b"") * 100_001, "too-many-entries"),
    "many entries": (b"PK\x03\x04" + b"PK\x01\x02" * 100_001, "too-many-entries"),
    "half a picture": (PHOTO[: len(PHOTO) // 2], "bad-picture"),
    "a header of a picture": (b"\xff\xd8\xff", "bad-picture"),
    "too many pixels": (HUGE_BMP, "too-many-pixels"),
    "a pdf in name only": (b"%PDF-1.7\nnothing", "bad-pdf"),
    "half a pdf": (samples.pdf(5)[:400], "bad-pdf"),
    "a pdf whose pages contain themselves": (LOOP, "bad-pdf"),
    "deep json": (DEEP, None),
    "json of lists": (b"[" + b"[]," * 2_000_000 + b"[]]", None),
    "xml bomb in an office file": (samples.docx(samples.BILLION_LAUGHS), None),
    "xml bomb in utf-16": (WIDE_BOMB, None),
    "zip whose entry lies about its size": (samples.lying_zip(), None),
    "names of a zip": (
        samples.zipped({"../../etc/passwd": b"x", "a\u202egpj.exe": b"y", "n" * 60_000: b"z"}),
        None,
    ),
    "control characters": (b"a" * 900 + b"\x01", None),
    "surrogates in utf-16": (codecs.BOM_UTF16_LE + b"\x00\xd8" * 100, None),
}  # fmt: skip


@pytest.mark.parametrize("confined", [True, False], ids=["sandbox", "bare"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_with_a_reason_or_a_bounded_result(
    sandbox: Sandbox[Inspection], name: str, *, confined: bool
) -> None:
    """A hostile file ends with a reason or a small result, by inspectors' own limits, too."""
    content, reason = HOSTILE[name]
    within = sandbox if confined else None
    if reason is None:
        found = look(within, content)
        assert len(orjson.dumps(found.result)) < 64 * 1024
        assert "\\u0000" not in json.dumps(found.result)
        return
    with pytest.raises(AtelierError) as refusal:
        look(within, content)
    assert refusal.value.slug == reason
    assert not re.search(r"Error|Exception|pypdf|zipfile", refusal.value.detail), (
        "words of a library's"
    )


def test_entries_that_lie_are_counted(sandbox: Sandbox[Inspection]) -> None:
    """An entry that unpacks to something else than it says is damaged."""
    found = look(sandbox, samples.lying_zip())
    assert found.result["damaged"] == 1
    assert found.result["damaged_names"] == ["a.bin"]


def test_the_xml_of_a_bomb_is_not_read(sandbox: Sandbox[Inspection]) -> None:
    """Neither is anything of it in the result."""
    assert look(sandbox, samples.docx(samples.BILLION_LAUGHS)).result["document"] == {
        "format": "docx"
    }


def test_an_encrypted_pdf_is_said_to_be_encrypted(sandbox: Sandbox[Inspection]) -> None:
    """It is processed: that it cannot be read is what there is to say."""
    trailer = samples.pdf().replace(
        b"/Info", b"/Encrypt << /Filter /Standard /V 1 /R 2 /O (x) /U (x) /P 0 >> /Info"
    )
    found = look(sandbox, trailer)
    assert found.result["encrypted"] is True


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32-be", "cp1251", "shift_jis"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_pieces_give_what_the_whole_gives(encoding: str, size: int) -> None:
    """Wherever a text is cut, even inside a character or a line end, counts are the same."""
    words = (
        "これは テスト\r\n です\r\r\n"
        if encoding == "shift_jis"
        else "слово и\r\nдело\n\r\rещё раз"
    )
    data = words.encode(encoding)
    whole = inspect(Task("text", "text/plain", 1), data).result
    progress, left = None, data
    while left:
        piece, left = left[:size], left[size:]
        task = Task("text", "text/plain", 1, piece=True, last=not left)
        if progress is None:  # a first piece of a byte cannot tell the encoding
            progress = inspect(task, data).progress
            assert progress is not None
            progress = type(progress)(whole["encoding"], bom=False)
        found = inspect(task, piece, progress)
        progress = found.progress
    assert found.result == whole


def test_memory_is_flat_over_a_large_text(sandbox: Sandbox[Inspection]) -> None:
    """A text of many pieces never has more than one of them in the decoder.

    Words that are cut count once.
    """
    piece = b"word and word\n" * 600_000  # 8.4 MB, ending with a line
    progress, pieces = None, 12
    for number in range(pieces):
        task = Task("text", "text/plain", 1, piece=True, last=number == pieces - 1)
        found = sandbox.call_sync(task, piece, progress)
        progress = found.progress
    assert found.result["lines"] == 600_000 * pieces
    assert found.result["words"] == 1_800_000 * pieces


def test_the_warm_up_meets_every_kind() -> None:
    """Libraries that the decoder loads before it is confined have been used for each kind."""
    warm.warm_up()
    assert {detect(sample, whole=True).kind for sample in warm.samples()} == PROCESSORS.keys()


@pytest.mark.parametrize("content", [bytes(range(256)), b"<<<" * 100, b"\x7fELF" * 50])
@pytest.mark.parametrize("kind", PROCESSORS)
def test_every_processor_takes_anything(kind: str, content: bytes) -> None:
    """Content that is nothing of the kind is refused or described, never an error of ours."""
    try:
        found = inspect(Task(kind, TYPES.get(kind, "text/plain"), 1_000_000), content)
    except AtelierError:
        return
    assert found.kind in PROCESSORS
