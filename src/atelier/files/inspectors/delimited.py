"""Rows of delimited text: where they end, what separates their columns, and what is mere prose.

Rows end at CR, LF and CRLF alone. Python's `splitlines` knows more line ends (U+2028, U+0085, VT,
FF), which stand inside cells, and one of which is a letter of CP866.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice

LINE_CHARACTERS = 8 * 1024 * 1024  # the widest tables have some hundred thousand columns
ROWS = 50  # that are looked at
DELIMITERS = "\t;|,"  # the comma last: it stands inside numbers, too
PROSE = ",;"  # delimiters that are punctuation, too
WIDE_COLUMNS = 100  # of a first row so long that no other is known
SHARE = 0.9  # of rows that have the same number of columns, as tables by hand do; and such
FEW_ROWS = 4  # fewer than that are no list of words
SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=([^\r\n"\w])"?[ ,;\t]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
_ROW = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n)|[^\r\n]++")
# Python's logging and Java's write milliseconds so; the comma separates nothing.
_MILLISECONDS = re.compile(r"(?<=\d\d:\d\d:\d\d),(?=\d{3}\b)")
_COMMA = re.compile(r"(?<!\d),|,(?!\d)")  # that is not a decimal one
_NUMBER = re.compile(r"[+-]?[$€£]?\s?\d[\d\s.,:/\-'’TZ+]*\s?[%$€£]?")
_ATOM = re.compile(r'"[^"]*"|[\w .\-+/№\xa0-\xff]{0,64}|[\d :.,\-]{0,64}')
_SENTENCE_END = re.compile(r"[.!?…][\"'»”)]?\s*$")


def lines(pieces: Iterable[str]) -> Iterator[str]:
    """Lines with their ends, from pieces that end anywhere. Raises csv.Error for a huge one."""
    rest = ""
    for piece in pieces:
        found = _ROW.findall(rest + piece)
        # A CR at the end of a piece may be half of a line end.
        rest = found.pop() if found and found[-1][-1] != "\n" else ""
        yield from found
        if len(rest) > LINE_CHARACTERS:
            raise csv.Error(f"a line is longer than {LINE_CHARACTERS} characters")
    if rest:
        yield rest


def separator_line(text: str) -> tuple[str, int] | None:
    """The delimiter that a first line `sep=;` names, as Excel understands it, and its length."""
    found = SEPARATOR_LINE.match(text)
    return (found[1], found.end()) if found else None


def delimiter(sample: str, *, whole: bool) -> str | None:
    """The column separator of a table, or None.

    With it two or more rows have the same number of columns, two or more; and they are no
    sentences. `sample` is a text's beginning, or the `whole` of it.
    """
    named = separator_line(sample)
    if named:
        return named[0]
    found = [match[0] for match in islice(_ROW.finditer(sample), ROWS + 1)]
    if len(found) > ROWS or (not whole and found):
        last = found.pop()
        if len(found) < 2:
            return _wide_row(found[0] if found else last)
    found = [_MILLISECONDS.sub(".", row) for row in found]
    best, best_width = None, 1
    for candidate in DELIMITERS:
        if candidate == "," and best and not any(map(_COMMA.search, found)):
            continue
        rows = _table(found, candidate)
        width = len(rows[0]) if rows else 0
        if width > best_width and not _is_prose(rows, candidate):
            best, best_width = candidate, width
    return best


def _table(found: list[str], candidate: str) -> list[list[str]]:
    """The rows of the commonest width; none if too many have another."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        rows = [row for row in csv.reader(found, delimiter=candidate) if row]
    if len(rows) < 2:
        return []
    widths = [len(row) for row in rows]
    common = max(set(widths), key=widths.count)
    alike = [row for row in rows if len(row) == common]
    return alike if len(alike) >= max(2, len(rows) * SHARE) else []


def _is_prose(rows: list[list[str]], candidate: str) -> bool:
    """True if the rows are sentences with punctuation, or indented lines, and no table."""
    if candidate == "\t":
        return len(rows[0]) == 2 and sum(not row[0] for row in rows) >= len(rows) * SHARE
    if candidate not in PROSE:
        return False
    inner = [cell for row in rows for cell in row[1:] if cell]
    spaced = sum(cell[0].isspace() for cell in inner)
    if not inner or spaced < len(inner) * SHARE or any("\n" in cell for cell in inner):
        return False
    columns = list(zip(*rows[1:], strict=True))
    if any(_mostly(column, _is_number) for column in columns):
        return False
    ends = sum(bool(_SENTENCE_END.search(row[-1]) or not row[-1].strip()) for row in rows)
    return (
        len(rows) < FEW_ROWS
        or ends * 2 >= len(rows)
        or not any(_mostly(column, _is_word) for column in columns)
    )


def _mostly(column: Iterable[str], test: Callable[[str], bool]) -> bool:
    cells = [cell.strip() for cell in column]
    return sum(map(test, cells)) >= len(cells) * SHARE


def _is_number(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell))


def _is_word(cell: str) -> bool:
    return bool(cell) and not any(map(str.isspace, cell))


def _wide_row(row: str) -> str | None:
    """The separator of a first row whose end is not in the sample: many short cells of words."""
    for candidate in DELIMITERS:
        cells = row.split(candidate)[:-1]
        if len(cells) < WIDE_COLUMNS:
            continue
        spaced = candidate in PROSE and sum(cell[:1].isspace() for cell in cells) * 2 > len(cells)
        if not spaced and sum(bool(_ATOM.fullmatch(cell)) for cell in cells) >= len(cells) * SHARE:
            return candidate
    return None
