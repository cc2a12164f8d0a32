"""Texts of EXIF, which are ASCII by the standard and anything in the field, as what they say.

UTF-8 if they are, else Windows-1251 where they look Russian or Western letters where they look so.
What looks like neither is no text: a row of signs that nobody wrote helps nobody.
"""

from __future__ import annotations

import re

# Beside letters: what people write in captions and names, in both code pages.
SIGNS = frozenset("©®°«»·№–—‘’“”„…€£§ºª\N{NO-BREAK SPACE}")
_WORD = re.compile(r"[^\W\d_]+")


def decoded(raw: bytes, *, cut: bool = False) -> str:
    """The text in front of the first NUL, or "" if there is none that can be read.

    `cut` says that bytes behind `raw` were left out, so that its last character may be half.
    """
    raw = raw.split(b"\0", 1)[0]
    for end in range(len(raw), max(len(raw) - 4, -1) if cut else len(raw) - 1, -1):
        try:
            return raw[:end].decode()
        except UnicodeDecodeError:
            continue
    return _russian(raw) or _western(raw)


def _russian(raw: bytes) -> str:
    """As Windows-1251, if its words are of one alphabet each and written in one case."""
    text = raw.decode("cp1251", "replace")
    words = _WORD.findall(text)
    strange = [word for word in words if not word.isascii()]
    alone = all(len(word) == 1 for word in strange)
    if not strange or not _known(text) or (alone and any(word.isascii() for word in words)):
        return ""
    return text if all(map(_is_cyrillic, strange)) else ""


def _is_cyrillic(word: str) -> bool:
    one_case = word.islower() or word.isupper() or word.istitle()
    return one_case and all("\u0400" <= letter <= "\u04ff" for letter in word)


def _western(raw: bytes) -> str:
    """As Windows-1252, which has Latin-1's letters, if no word of two letters is of accents."""
    text = raw.decode("cp1252", "replace")
    words = _WORD.findall(text)
    plausible = all(len(word) == 1 or re.search("[A-Za-z]", word) for word in words)
    return text if plausible and _known(text) else ""


def _known(text: str) -> bool:
    return all(sign.isascii() or sign.isalpha() or sign in SIGNS for sign in text)
