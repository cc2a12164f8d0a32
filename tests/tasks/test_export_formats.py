"""Tasks as lines of CSV."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest

from atelier.http.csv_lines import BOM, defused
from atelier.tasks.export_formats import HEADER, Csv, column_of

ROW: dict[str, Any] = {
    "id": 1,
    "owner_id": 7,
    "queue_id": None,
    "image_id": None,
    "meta": "",
    "free": False,
    "created_at": datetime(2026, 11, 30, 19, tzinfo=UTC),
    "taken_at": datetime(2026, 11, 30, 19, 0, 0, 5, tzinfo=UTC),
    "completed_at": datetime(2026, 11, 30, 20, tzinfo=UTC),
    "completed_by": 7,
    "completed_by_name": None,
    "seconds": 1.5,
    "result": None,
}
FORMULAS = ["=1+1", "+a", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=-1", "--1", "-"]
PLAIN = ["-5", "+5", "-1.5", "-1,5", "-1e5", "a=1", "'=1", "", " =1", "12"]


def only(writer: Csv, **changes: object) -> dict[str, str]:
    """The one row of a file, by columns."""
    text = (writer.head + writer.lines([ROW | changes])).decode()
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    return row


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_a_text(text: str) -> None:
    """In every column that people fill: the text, an answer, a name."""
    assert defused(text) == f"'{text}"
    found = only(
        Csv(["a", "b"]), meta=text, completed_by_name=text, result='{"a":"=1","b":["=1"]}'
    )
    assert (found["meta"], found["completed_by_name"]) == (f"'{text}", f"'{text}")
    assert (found["a"], found["b"]) == ("'=1", "'=1")


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_formula_stays(text: str) -> None:
    """Numbers, too, though they begin with a sign."""
    assert defused(text) == text


@pytest.mark.parametrize("text", ['say "red", then\r\ngo', "a\nb", "a,b", "Горит; ли", "a\rb"])
def test_texts_come_back_as_they_were(text: str) -> None:
    """Quotes, commas, line ends and letters of any alphabet."""
    assert only(Csv(), meta=text)["meta"] == text


def test_lines_end_as_the_standard_has_it() -> None:
    """A header, then rows, each with CR LF; empty cells are empty."""
    assert Csv().head == (",".join(HEADER) + ",result\r\n").encode()
    assert Csv().lines([ROW]) == (
        b"1,7,,,,done,2026-11-30T19:00:00Z,2026-11-30T19:00:00.000005Z,2026-11-30T20:00:00Z,7,,"
        b"1.5,\r\n"
    )
    assert Csv(bom=True).head == BOM.encode() + Csv().head


@pytest.mark.parametrize(
    ("result", "cells"),
    [
        (None, ("", "")),
        ('{"light": "red"}', ("red", "")),
        ('{"light": null, "seen": ["car", "bus"]}', ("", "car; bus")),
        ('{"light": {"old": 1}, "seen": [1, true]}', ('{"old":1}', "1; true")),
        ('{"gone": 1}', ("", "")),
        ('"an answer of before there was a form"', ("", "")),
    ],
)
def test_a_form_has_a_column_for_each_field(result: str | None, cells: tuple[str, str]) -> None:
    """Also for answers that were given when the form was another one."""
    found = only(Csv(["light", "seen"]), result=result)
    assert (found["light"], found["seen"]) == cells
    assert "result" not in found


def test_a_field_may_be_named_as_a_column() -> None:
    """It has a column beside that, under a name that no field can have."""
    assert column_of("light") == "light"
    found = only(Csv(["id", "meta"]), result='{"id": "x", "meta": "y"}')
    assert (found["id"], found["result.id"], found["result.meta"]) == ("1", "x", "y")


@pytest.mark.parametrize("result", ["-5", '"=1+1"', "[1, 2]", '{"light": "красный"}'])
def test_without_a_form_the_answer_is_json(result: str) -> None:
    """In one column, as it is."""
    assert only(Csv(), result=result)["result"] == result
