"""Tasks with their answers as CSV and as JSON Lines. Knows no store and no HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from operator import itemgetter
from typing import Any, Protocol

import orjson

from atelier.http.csv_lines import BETWEEN, BOM, MEDIA_TYPE, defused, lines, times
from atelier.http.encoding import dumps
from atelier.tasks.records import RECORDED, record, state_of

Row = Mapping[str, Any]

HEADER = (
    *("id", "space_id", "queue_id", "image_id", "meta", "state", "created_at", "taken_at"),
    *("completed_at", "completed_by", "completed_by_name", "seconds"),
)
RESULT = "result"
_PLACE = itemgetter("id", "owner_id", "queue_id", "image_id")
_TIMES = itemgetter("created_at", "taken_at", "completed_at")


class Format(StrEnum):
    """What an export is written as."""

    CSV = "csv"
    JSONL = "jsonl"


class Writer(Protocol):
    """Writes tasks in some form; `columns` are those that it needs of each."""

    columns: str
    media_type: str
    head: bytes

    def lines(self, rows: Sequence[Row]) -> bytes:
        """One line for each task; texts may go over several."""


class JsonLines:
    """The record of each task on a line of its own."""

    columns = RECORDED
    media_type = "application/jsonl"
    head = b""

    def lines(self, rows: Sequence[Row]) -> bytes:
        """Return the records."""
        return b"".join([dumps(record(row)) + b"\n" for row in rows])


class Csv:
    """CSV of RFC 4180 with a header, in UTF-8.

    With the fields of a form each of them has a column, else there is one of the answer as JSON.
    What an answer has beyond the form, which may have been another when it was given, is left out.
    """

    columns = "id, owner_id, queue_id, image_id, meta, free, created_at, taken_at, completed_at"
    media_type = MEDIA_TYPE

    def __init__(self, fields: Sequence[str] | None = None, *, bom: bool = False) -> None:
        self._fields = fields
        answers = [RESULT] if fields is None else [column_of(name) for name in fields]
        self.head = (BOM if bom else "").encode() + lines([[*HEADER, *answers]])

    def lines(self, rows: Sequence[Row]) -> bytes:
        """Return the rows."""
        answer = self._answer
        return lines(
            [
                [*_cells(row, times), *answer(row[RESULT])]
                for row, times in zip(rows, times([*map(_TIMES, rows)]), strict=True)
            ]
        )

    def _answer(self, result: str | None) -> list[str | None]:
        if self._fields is None:
            return [None if result is None else defused(result)]
        answer = None if result is None else orjson.loads(result)
        if not isinstance(answer, dict):
            return [None] * len(self._fields)
        return [_value(answer.get(name)) for name in self._fields]


def column_of(field: str) -> str:
    """The column of a form's field: its name, unless another column has that."""
    return f"{RESULT}.{field}" if field in HEADER else field


def _cells(row: Row, times: Sequence[str | None]) -> list[object]:
    return [
        *_PLACE(row),
        defused(row["meta"]),
        state_of(row),
        *times,
        row["completed_by"],
        defused(row["completed_by_name"] or ""),
        row["seconds"],
    ]


def _value(value: object) -> str | None:
    if isinstance(value, str):
        return defused(value)
    if isinstance(value, list):
        return defused(BETWEEN.join(map(_plain, value)))
    return None if value is None else defused(_plain(value))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
