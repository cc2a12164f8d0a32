"""Texts that people give: bounded first, then normalised, then measured.

Normalisation takes time by the square of a run of combining marks, so nothing is normalised whose
length and runs are not bounded. This is the one module that normalises what clients send.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from itertools import groupby

LINE_LIMIT = 300  # characters of a title or a name, after normalisation
# Characters beyond which a text is not looked at: whatever white space is in it, it is no title.
RAW_LIMIT = 10_000
RAW_FACTOR = 4  # characters that normalisation makes one of, at most: a letter and three marks
MARKS = 30  # combining marks in a row; UAX #15, "Stream-Safe Text Format", has the same bound
CONTROLS = "Control characters are not allowed"
PILED = f"More than {MARKS} combining marks in a row"
BLANKS = "\t\n\v\f\r"  # control characters that are white space on a line
_FORBIDDEN = ("Cc", "Cs")  # Unicode categories: controls, surrogates


def raw_limit(most: int) -> int:
    """The length above which a text cannot be one of at most `most` characters."""
    return max(RAW_LIMIT, most * RAW_FACTOR)


def bounded(text: str, most: int) -> str:
    """`text` itself, if it is safe to work on.

    Raises ValueError for one that is far longer than `most` characters, or piles up marks.
    """
    if len(text) > raw_limit(most):
        raise ValueError(too_long(most))
    if not text.isascii() and any(count > MARKS for count in _runs(text)):
        raise ValueError(PILED)
    return text


def composed(text: str, most: int) -> str:
    """`text` in NFC, of at most `most` characters. Raises ValueError."""
    normal = text if text.isascii() and len(text) <= most else _nfc(bounded(text, most))
    if len(normal) > most:
        raise ValueError(too_long(most))
    return normal


def clean(text: str, least: int, most: int, allowed: Collection[str] = ()) -> str:
    """`text` in NFC, of `least` to `most` characters, without controls but those allowed.

    Raises ValueError.
    """
    return _measured(_plain(text, most, allowed), least, most)


def line(text: str, least: int, most: int) -> str:
    """The same on one line: every run of white space is one blank. Raises ValueError."""
    words = " ".join(_plain(text, most, BLANKS).split())
    return _measured(words, least, most)


def folded(text: str, most: int) -> str:
    """The form that texts share if they differ only in case, composition and white space.

    Raises ValueError for a text that is not `bounded`.
    """
    return _nfc(_nfc(" ".join(bounded(text, most).split())).casefold())


def squeezed(text: str) -> str:
    """`text` in NFC without the marks that pile up: for names, which are never refused."""
    if text.isascii():
        return text
    kept, run = [], 0
    for character in text:
        run = run + 1 if _is_mark(character) else 0
        if run <= MARKS:
            kept.append(character)
    return _nfc("".join(kept))


def has_controls(text: str, allowed: Collection[str] = ()) -> bool:
    """Whether a text holds control characters or surrogates other than those allowed."""
    return any(
        unicodedata.category(character) in _FORBIDDEN and character not in allowed
        for character in text
    )


def too_long(most: int) -> str:
    """The sentence for a text that is too long."""
    return f"At most {most} character{'s' * (most != 1)}"


def _plain(text: str, most: int, allowed: Collection[str]) -> str:
    text = _nfc(bounded(text, most))
    if has_controls(text, allowed):
        raise ValueError(CONTROLS)
    return text


def _measured(text: str, least: int, most: int) -> str:
    if len(text) < least:
        raise ValueError(f"At least {least} character{'s' * (least != 1)}")
    if len(text) > most:
        raise ValueError(too_long(most))
    return text


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _runs(text: str) -> list[int]:
    """The lengths of the runs of marks."""
    return [sum(1 for _ in run) for is_mark, run in groupby(text, _is_mark) if is_mark]


def _is_mark(character: str) -> bool:
    # Not `combining`: U+0F73 has the class 0 and is two marks when it is taken apart.
    return unicodedata.category(character)[0] == "M"
