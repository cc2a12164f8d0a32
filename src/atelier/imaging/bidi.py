"""Orders right-to-left text for a renderer that draws from left to right and joins no letters.

A part of the Unicode Bidirectional Algorithm (UAX #9: rules W1-W7, N1-N2, I1-I2, L1-L4; no explicit embeddings, which
callers strip), and Arabic letters by their presentation forms. Used where Pillow comes without raqm, which does it all.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import groupby

RIGHT_TO_LEFT = frozenset(("R", "AL"))
STRONG = frozenset(("L", *RIGHT_TO_LEFT))
NEUTRAL = frozenset(("B", "S", "WS", "ON", "BN", "ES", "ET", "CS"))
MIRRORS = dict(zip("()[]{}<>«»‹›", ")(][}{><»«›‹", strict=True))
OPENING, CLOSING = "([{", ")]}"
LAM, ALEFS, TATWEEL = "\u0644", "\u0622\u0623\u0625\u0627", "\u0640"
# Arabic Presentation Forms A and B, whose decompositions tell each letter's shapes.
PRESENTATION_FORMS = (*range(0xFB50, 0xFE00), *range(0xFE70, 0xFF00))


def right_to_left(text: str) -> bool:
    """Whether a paragraph runs from right to left: its first strong character decides (rules P2, P3)."""
    return next((kind in RIGHT_TO_LEFT for kind in map(unicodedata.bidirectional, text) if kind in STRONG), False)


def visual(text: str, *, rtl: bool) -> str:
    """Returns one line in drawing order, its Arabic letters joined; `rtl` is its paragraph's direction."""
    clusters = _clusters(join_arabic(text))
    kinds = _resolve([unicodedata.bidirectional(cluster[0]) or "L" for cluster in clusters], rtl=rtl)
    _pair_brackets([cluster[0] for cluster in clusters], kinds, "R" if rtl else "L")
    _neutrals(kinds, "R" if rtl else "L")
    levels = [_level(kind, int(rtl)) for kind in kinds]
    pieces = [_mirror(c) if level % 2 else c for c, level in zip(clusters, levels, strict=True)]
    for depth in range(max(levels, default=0), 0, -1):
        pieces, levels = _reverse(pieces, levels, depth)
    return "".join(pieces)


def _clusters(text: str) -> list[str]:
    """Letters with their marks: marks stay behind their base when a run is reversed (rule L3)."""
    clusters: list[str] = []
    for char in text:
        if clusters and unicodedata.category(char) in ("Mn", "Me", "Mc"):
            clusters[-1] += char
        else:
            clusters.append(char)
    return clusters


def _resolve(kinds: list[str], *, rtl: bool) -> list[str]:
    """Rules W2 to W7."""
    base = "R" if rtl else "L"
    strong, after_arabic = base, False
    for place, kind in enumerate(kinds):
        if kind in STRONG:
            strong, after_arabic = ("L" if kind == "L" else "R"), kind == "AL"
            kinds[place] = strong
        elif kind == "EN":
            kinds[place] = "AN" if after_arabic else "L" if strong == "L" else "EN"
    for place in range(1, len(kinds) - 1):
        before, kind, after = kinds[place - 1 : place + 2]
        if kind in ("CS", "ES") and before == after and before in ("EN", "AN"):
            kinds[place] = before
    _join_terminators(kinds)
    return kinds


def _join_terminators(kinds: list[str]) -> None:
    """Rule W5: signs of currency and per cent go with the number beside them."""
    start = 0
    for kind, group in groupby(list(kinds)):
        end = start + len(list(group))
        if kind == "ET" and "EN" in (kinds[start - 1] if start else "", kinds[end] if end < len(kinds) else ""):
            kinds[start:end] = ["EN"] * (end - start)
        start = end


def _pair_brackets(chars: list[str], kinds: list[str], base: str) -> None:
    """Rule N0: both brackets of a pair run as what they hold does, seen from what stands before them."""
    opened: list[int] = []
    for place, char in enumerate(chars):
        if char in OPENING:
            opened.append(place)
        elif char in CLOSING and opened and OPENING.index(chars[opened[-1]]) == CLOSING.index(char):
            start = opened.pop()
            held = {_side(kind) for kind in kinds[start + 1 : place] if kind not in NEUTRAL}
            before = next((_side(kind) for kind in reversed(kinds[:start]) if kind not in NEUTRAL), base)
            if held:
                kinds[start] = kinds[place] = base if base in held else before


def _neutrals(kinds: list[str], base: str) -> None:
    """Rules N1 and N2: what has no direction takes that of its two sides, or the paragraph's."""
    start = 0
    for neutral, group in groupby(list(kinds), lambda kind: kind in NEUTRAL or kind not in ("L", "R", "EN", "AN")):
        end = start + len(list(group))
        if neutral:
            before = _side(kinds[start - 1]) if start else base
            after = _side(kinds[end]) if end < len(kinds) else base
            kinds[start:end] = [before if before == after else base] * (end - start)
        start = end


def _side(kind: str) -> str:
    return "L" if kind == "L" else "R"


def _level(kind: str, base: int) -> int:
    """Rules I1 and I2."""
    if base:
        return 1 if kind == "R" else 2
    return {"L": 0, "R": 1}.get(kind, 2)


def _reverse(pieces: list[str], levels: list[int], depth: int) -> tuple[list[str], list[int]]:
    """Rule L2 for one depth: every run at it or deeper is turned round."""
    ordered: list[tuple[str, int]] = []
    for deep, group in groupby(zip(pieces, levels, strict=True), lambda item: item[1] >= depth):
        run = list(group)
        ordered += run[::-1] if deep else run
    return [piece for piece, _ in ordered], [level for _, level in ordered]


def _mirror(cluster: str) -> str:
    return MIRRORS.get(cluster[0], cluster[0]) + cluster[1:]


@cache
def _shapes() -> dict[str, dict[str, str]]:
    """The presentation forms of every letter, and of lam with an alef: {letters: {"initial": form, ...}}."""
    shapes: dict[str, dict[str, str]] = {}
    for code in PRESENTATION_FORMS:
        kind, *letters = unicodedata.decomposition(chr(code)).split() or [""]
        text = "".join(chr(int(letter, 16)) for letter in letters)
        if kind in ("<isolated>", "<initial>", "<medial>", "<final>") and (
            len(text) == 1 or (text[0] == LAM and text[1:] in ALEFS)
        ):
            shapes.setdefault(text, {}).setdefault(kind[1:-1], chr(code))
    return {text: forms for text, forms in shapes.items() if "final" in forms and " " not in text}


def join_arabic(text: str) -> str:
    """Replaces Arabic letters by the forms that join their neighbours; marks between them do not part them."""
    shapes = _shapes()
    letters = [place for place, char in enumerate(text) if unicodedata.category(char) not in ("Mn", "Me")]
    result = list(text)
    joined = False
    skip = False
    for number, place in enumerate(letters):
        if skip:
            skip = False
            continue
        after = letters[number + 1] if number + 1 < len(letters) else None
        key = text[place]
        if after is not None and key + text[after] in shapes and len(key + text[after]) == 2:  # noqa: PLR2004 - lam, alef
            key, skip = key + text[after], True
            result[after] = ""
            after = letters[number + 2] if number + 2 < len(letters) else None
        joined = _place_form(result, place, shapes.get(key, {}), joined, text[after] if after is not None else "")
    return "".join(result)


def _place_form(result: list[str], place: int, forms: dict[str, str], joined: bool, after: str) -> bool:  # noqa: FBT001
    """Writes the form of one letter; returns whether it reaches out to the next one."""
    reaches = "initial" in forms and ("final" in _shapes().get(after, {}) or after == TATWEEL)
    form = ("medial" if reaches else "final") if joined and forms else "initial" if reaches else "isolated"
    result[place] = forms.get(form, result[place])
    return reaches or (result[place] == TATWEEL and "final" in _shapes().get(after, {}))
