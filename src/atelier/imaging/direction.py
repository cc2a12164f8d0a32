"""The direction of a paragraph, and of lines that are cut out of one.

The layout engine orders each line by the Unicode Bidirectional Algorithm (UAX #9) but sees only
that line, whereas the algorithm resolves directions in the whole paragraph before it is broken. An
invisible mark at each edge of a line stands for the text that the engine does not see. A bracket
whose partner is on another line counts as unpaired.
"""

from __future__ import annotations

import unicodedata

LEFT_TO_RIGHT, RIGHT_TO_LEFT, ARABIC = "\u200e", "\u200f", "\u061c"
# Bidirectional classes; without any of them everything runs from left to right.
RIGHT_TO_LEFT_KINDS = frozenset(("R", "AL", "AN"))
# The strong classes, each with the invisible mark of the same class.
MARKS = {"L": LEFT_TO_RIGHT, "R": RIGHT_TO_LEFT, "AL": ARABIC}


def right_to_left(text: str) -> bool:
    """True if a paragraph runs right to left: its first strong character decides (P2, P3)."""
    kinds = map(unicodedata.bidirectional, text)
    return next((kind != "L" for kind in kinds if kind in MARKS), False)


class Paragraph:
    """A paragraph without explicit embeddings and isolates."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.rtl = right_to_left(text)
        self._base = RIGHT_TO_LEFT if self.rtl else LEFT_TO_RIGHT
        kinds = list(map(unicodedata.bidirectional, text))
        self._mixed = not RIGHT_TO_LEFT_KINDS.isdisjoint(kinds)
        if self._mixed:
            self._before = self._marks_before(kinds)
            self._after = self._marks_after(kinds)

    def line(self, start: int, end: int) -> str:
        """The characters from `start` to `end`, between marks that keep their order.

        A mark of the paragraph's own direction would change nothing and is left out.
        """
        if not self._mixed:
            return self.text[start:end]
        marks = self._before[start], self._after[end]
        first, last = ("" if mark == self._base else mark for mark in marks)
        return first + self.text[start:end] + last

    def _marks_before(self, kinds: list[str]) -> list[str]:
        """For each place the mark of the last strong character before it (W2, W7: numbers)."""
        marks = [self._base]
        for kind in kinds:
            marks.append(MARKS.get(kind, marks[-1]))
        return marks

    def _marks_after(self, kinds: list[str]) -> list[str]:
        """For each place the mark of the next letter or number after it (N1: neutrals)."""
        marks = [self._base]
        for place in range(len(kinds) - 1, -1, -1):
            kind = kinds[place]
            # W7: a European number after left-to-right text behaves like that text.
            european = "L" if self._before[place] == LEFT_TO_RIGHT else "R"
            side = {"L": "L", "R": "R", "AL": "R", "AN": "R", "EN": european}.get(kind)
            marks.append(MARKS[side] if side else marks[-1])
        return marks[::-1]
