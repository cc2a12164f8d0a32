"""Texts: encoding, lines, words, line ends. A text of any size is read piece by piece."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence

from atelier.files.inspectors import Inspection, Task, encodings
from atelier.files.inspectors.counts import Progress
from atelier.files.inspectors.detect import HEAD_BYTES, guess_encoding
from atelier.files.inspectors.guesses import Guess

PIECE_BYTES = 1024 * 1024
AROUND_BYTES = 32 * 1024  # on either side of the first byte that is not UTF-8
DAMAGED_SHARE = 0.05  # of the characters above ASCII, up to which a text is UTF-8 with damage
MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def inspect(task: Task, data: bytes) -> Inspection:
    """Counts of a whole text; undecodable bytes are replaced."""
    progress = _begin(data, task.languages, whole=True)
    view = memoryview(data)
    for start in range(0, len(view), PIECE_BYTES):
        piece = bytes(view[start : start + PIECE_BYTES])
        progress.add(piece, last=start + PIECE_BYTES >= len(view), errors="replace")
    return Inspection("text", task.content_type, progress.result())


def proceed(task: Task, data: bytes, progress: Progress | None) -> Inspection:
    """The counts of a text so far; undecodable bytes are replaced."""
    if progress is None:
        progress = _begin(data, task.languages, whole=task.last)
    elif progress.plain and not data.isascii():  # only now there is something to judge by
        guess = encoding_of(data, task.languages, whole=task.last)
        progress.encoding, progress.confidence = guess
        progress.plain, progress.decoder = False, None
    progress.add(data, last=task.last, errors="replace")
    return Inspection("text", task.content_type, progress.result(), progress=progress)


def _begin(data: bytes, languages: Sequence[str], *, whole: bool) -> Progress:
    guess = encoding_of(data, languages, whole=whole)
    plain = guess.encoding == "utf-8" and data.isascii()
    return Progress(guess.encoding, data.startswith(MARKS), guess.confidence, plain)


def encoding_of(data: bytes, languages: Sequence[str], *, whole: bool = True) -> Guess:
    """The encoding, by its byte order mark, its form, or its letters.

    `whole`: the data do not end within a text, where a character may be cut.
    """
    head = data[:HEAD_BYTES]
    guessed = guess_encoding(head, whole=whole and len(data) <= HEAD_BYTES)
    if guessed not in {None, "8-bit", "utf-8"}:
        return Guess(str(guessed))
    place = _not_utf8(data, whole=whole)
    if place is None:
        return Guess("utf-8")
    damaged = _damaged(data, place)
    if damaged <= DAMAGED_SHARE:
        return Guess("utf-8", round(1 - damaged, 3))
    return encodings.guess(data[max(0, place - encodings.CONTEXT_BYTES) :], languages)


def _not_utf8(data: bytes, *, whole: bool) -> int | None:
    """The place of the first byte that cannot be read as UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(data)
    for start in range(0, len(view), PIECE_BYTES):
        stop = start + PIECE_BYTES
        kept = len(decoder.getstate()[0])  # bytes of a character that the last piece cut
        try:
            decoder.decode(bytes(view[start:stop]), final=whole and stop >= len(view))
        except UnicodeDecodeError as error:
            return start - kept + error.start
    return None


def _damaged(data: bytes, place: int) -> float:
    """The share of undecodable characters above ASCII around a place, read as UTF-8."""
    sample = data[max(0, place - AROUND_BYTES) : place + AROUND_BYTES]
    text = sample.lstrip(bytes(range(0x80, 0xC0))).decode("utf-8", "replace")
    high = sum(character > "\x7f" for character in text)
    return text.count("\ufffd") / high if high else 1.0


def decode(data: bytes, encoding: str, errors: str = "strict") -> Iterator[str]:
    """The text in pieces. Raises UnicodeDecodeError."""
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    view = memoryview(data)
    for start in range(0, len(view), PIECE_BYTES):
        yield decoder.decode(bytes(view[start : start + PIECE_BYTES]))
    yield decoder.decode(b"", final=True)
