"""Counts characters, words and lines of a text that comes in pieces.

Its state is plain data, which travels with each piece.
"""

from __future__ import annotations

import codecs
from typing import Any

import msgspec

from atelier.files.inspectors.guesses import Guess


class Counts(msgspec.Struct):
    """The counts so far; a line or word may continue in the next piece."""

    characters: int = 0
    words: int = 0
    crlf: int = 0
    lf: int = 0
    cr: int = 0
    longest: int = 0
    line: int = 0  # characters so far of the unfinished line
    in_word: bool = False
    after_cr: bool = False

    def add(self, piece: str) -> None:
        """Count the next piece."""
        if not piece:
            return
        joined = self.after_cr and piece[0] == "\n"  # its CR was counted alone
        crlf = piece.count("\r\n")
        self.characters += len(piece)
        self.crlf += crlf + joined
        self.lf += piece.count("\n") - crlf - joined
        self.cr += piece.count("\r") - crlf - joined
        self.words += len(piece.split()) - (self.in_word and not piece[0].isspace())
        self.in_word, self.after_cr = not piece[-1].isspace(), piece[-1] == "\r"
        self._measure(piece)

    def _measure(self, piece: str) -> None:
        lines = piece.replace("\r", "\n").split("\n") if "\r" in piece else piece.split("\n")
        self.line += len(lines[0])
        if len(lines) > 1:
            self.longest = max(self.longest, self.line, max(map(len, lines[1:-1]), default=0))
            self.line = len(lines[-1])

    def result(self) -> dict[str, Any]:
        """The figures; the last line may lack its end."""
        ends = {"lf": self.lf, "crlf": self.crlf, "cr": self.cr}
        used = [name for name, count in ends.items() if count]
        return {
            "lines": sum(ends.values()) + (self.line > 0),
            "words": self.words,
            "characters": self.characters,
            "longest_line": max(self.longest, self.line),
            "line_ends": used[0] if len(used) == 1 else "mixed" if used else "none",
        }


class Progress(msgspec.Struct):
    """The state of reading a text in pieces."""

    encoding: str
    bom: bool
    confidence: float = 1.0
    plain: bool = False  # nothing but ASCII so far: the encoding is still open
    # A decoder's own words. Every value of it is a real state, (b"", 0) too: UTF-16 that began
    # with the mark of this machine's order is in it.
    decoder: tuple[bytes, int] | None = None
    counts: Counts = msgspec.field(default_factory=Counts)

    def add(self, piece: bytes, *, last: bool, errors: str = "strict") -> None:
        """Read the next bytes. Raises UnicodeDecodeError."""
        decoder = codecs.getincrementaldecoder(self.encoding)(errors)
        if self.decoder is not None:
            decoder.setstate(self.decoder)
        self.counts.add(decoder.decode(piece, final=last))
        self.decoder = decoder.getstate()

    def result(self) -> dict[str, Any]:
        """The counts and the encoding."""
        guess = Guess(self.encoding, self.confidence)
        return guess.result() | {"bom": self.bom} | self.counts.result()
