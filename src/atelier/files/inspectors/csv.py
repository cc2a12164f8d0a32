"""Tables: delimiter, shape and header, or the line where reading failed."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from atelier.files.inspectors import Inspection, Task
from atelier.files.inspectors.clean import clean
from atelier.files.inspectors.delimited import delimiter, lines, separator_line
from atelier.files.inspectors.detect import HEAD_BYTES, decoded
from atelier.files.inspectors.text import decode, encoding_of

FIELD_CHARACTERS = 1024 * 1024  # a longer field means that a quote was never closed
HEADER_COLUMNS = 100  # names that a result shows
WIDTHS = 1000  # different numbers of columns that are counted
_BLANKS = re.compile(r"[\s'’]")


def inspect(task: Task, data: bytes) -> Inspection:
    """The shape of a table, or the error that stopped the reading."""
    guess = encoding_of(data, task.languages)
    sample = decoded(data[:HEAD_BYTES], guess.encoding)
    separator = delimiter(sample, whole=len(data) <= HEAD_BYTES) or ","
    source = lines(decode(data, guess.encoding, "replace"))
    if separator_line(sample):
        next(source)
    result = guess.result() | {"delimiter": separator} | _shape(source, separator)
    return Inspection("csv", task.content_type, result)


def _shape(source: Iterator[str], separator: str) -> dict[str, Any]:
    csv.field_size_limit(FIELD_CHARACTERS)
    reader = csv.reader(source, delimiter=separator, strict=True)
    first: list[str] = []
    second: list[str] = []
    widths: Counter[int] = Counter()
    error = None
    try:
        for row in reader:
            if not row:
                continue
            first, second = (first, second or row) if first else (row, second)
            if len(widths) < WIDTHS or len(row) in widths:
                widths[len(row)] += 1
    except csv.Error as problem:
        error = f"line {reader.line_num}: {problem}"
    columns = widths.most_common(1)[0][0] if widths else 0
    header = (
        [clean(name) for name in first[:HEADER_COLUMNS]] if _is_header(first, second) else None
    )
    return {
        "valid": error is None,
        "error": error,
        "rows": widths.total() - (header is not None),
        "columns": columns,
        "ragged_rows": widths.total() - widths[columns],
        "header": header,
    }


def _is_header(first: list[str], second: list[str]) -> bool:
    """True if the first row has distinct names, no numbers, and a row follows.

    One name may be missing: that of the column of line numbers, which programs write first.
    """
    return (
        bool(second)
        and any(first)
        and len(set(first)) == len(first)
        and not any(map(_number, first))
    )


def _number(text: str) -> bool:
    try:
        float(_BLANKS.sub("", text).replace(",", "."))
    except ValueError:
        return False
    return True
