"""Texts: encoding, lines, words, line ends. A text of any size is read piece by piece."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from charset_normalizer import from_bytes

from atelier.files.inspectors import Inspection, Task
from atelier.files.inspectors.counts import Progress
from atelier.files.inspectors.detect import HEAD_BYTES, guess_encoding

PIECE_BYTES = 1024 * 1024
SAMPLE_BYTES = 64 * 1024  # for telling an 8-bit encoding
# 8-bit encodings in practice; with all that exist, some pair would fit any file.
EIGHT_BIT = (
    "cp1252", "cp1251", "koi8_r", "cp866", "iso8859_2", "cp1250", "iso8859_15", "cp1253", "cp1254",
    "cp1255", "cp1256",
    "mac_roman", "mac_cyrillic", "cp437", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr",
)  # fmt: skip
FALLBACK = "cp1252"
MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def inspect(task: Task, data: bytes) -> Inspection:
    """Counts of a whole text."""
    try:
        progress = _read(encoding_of(data), data)
    except UnicodeDecodeError as error:  # the encoding of its head does not fit the rest
        strange = error.object[error.start : error.start + SAMPLE_BYTES]
        progress = _read(eight_bit(strange), data, "replace")
    return Inspection("text", task.content_type, progress.result())


def proceed(task: Task, data: bytes, progress: Progress | None) -> Inspection:
    """The counts of a text so far; undecodable bytes are replaced."""
    progress = progress or Progress(encoding_of(data), data.startswith(MARKS))
    progress.add(data, last=task.last, errors="replace")
    return Inspection("text", task.content_type, progress.result(), progress=progress)


def _read(encoding: str, data: bytes, errors: str = "strict") -> Progress:
    progress = Progress(encoding, data.startswith(MARKS))
    view = memoryview(data)
    for start in range(0, len(view), PIECE_BYTES):
        piece = bytes(view[start : start + PIECE_BYTES])
        progress.add(piece, last=start + PIECE_BYTES >= len(view), errors=errors)
    return progress


def encoding_of(data: bytes) -> str:
    """The encoding, by its byte order mark, its form, or its letters."""
    guessed = guess_encoding(data[:HEAD_BYTES], whole=len(data) <= HEAD_BYTES) or "8-bit"
    return eight_bit(data) if guessed == "8-bit" else guessed


def eight_bit(data: bytes) -> str:
    """The likeliest of the encodings that give letters to all bytes above ASCII."""
    best = from_bytes(data[:SAMPLE_BYTES], cp_isolation=list(EIGHT_BIT)).best()
    return best.encoding if best and best.encoding in EIGHT_BIT else FALLBACK


def decode(data: bytes, encoding: str, errors: str = "strict") -> Iterator[str]:
    """The text in pieces. Raises UnicodeDecodeError."""
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    view = memoryview(data)
    for start in range(0, len(view), PIECE_BYTES):
        yield decoder.decode(bytes(view[start : start + PIECE_BYTES]))
    yield decoder.decode(b"", final=True)
