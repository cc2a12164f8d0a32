"""What is a table, and what it holds: rows, columns, delimiter, names."""

from __future__ import annotations

import csv as standard
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.files.inspectors.delimited import lines
from tests.files.conftest import look

ROWS = 30
RUSSIAN = "Шифр;Заглавие;Год\r\n" + "".join(
    f"{n};ДЕЛО {n} ОБ ОТВОДЕ ЗЕМЛИ;{1890 + n}\r\n" for n in range(ROWS)
)
NAMES = ["Шифр", "Заглавие", "Год"]


def table(mark: str, delimiter: str = ";") -> str:
    """A table with a mark in its middle cells."""
    rows = [("id", "text", "n"), *((str(n), f"one{mark}two", str(n)) for n in range(ROWS))]
    return "".join(delimiter.join(row) + "\n" for row in rows)


def wide(columns: int, delimiter: str, name: str = "Столбец") -> str:
    """Two rows of very many columns."""
    return (
        delimiter.join(f"{name} {n}" for n in range(columns))
        + "\n"
        + delimiter.join(str(n) for n in range(columns))
        + "\n"
    )


PLAIN = {"delimiter": ";", "columns": 3, "rows": ROWS, "ragged_rows": 0}
TABLES: dict[str, tuple[bytes, dict[str, Any]]] = {
    **{
        encoding: (RUSSIAN.encode(encoding), PLAIN | {"header": NAMES, "encoding": encoding})
        for encoding in ("cp866", "cp1251", "koi8_r", "utf-8", "utf-8-sig", "utf-16")
    },
    **{
        f"{mark!r} in a cell": (table(mark).encode(), PLAIN | {"header": ["id", "text", "n"]})
        for mark in ("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\xa0")
    },
    "quoted line ends": (
        b'a,b\n"x\ny",1\n"z\r\nw",2\n"q\rv",3\n',
        {"rows": 3, "columns": 2, "header": ["a", "b"]},
    ),
    "cr alone": (b"a,b\r1,2\r3,4\r", {"rows": 2, "columns": 2}),
    "sep line": (b"sep=;\r\na;b;c\r\n1;2;3\r\n", {"rows": 1, "columns": 3, "header": [*"abc"]}),
    "sep line of a tab": (b"sep=\t\na\tb\n1\t2\n", {"rows": 1, "delimiter": "\t"}),
    "sep line with a mark": ("\ufeffsep=|\na|b\n1|2\n".encode(), {"rows": 1, "delimiter": "|"}),
    "sep line in quotes": (b'"sep=,"\na,b\n1,2\n', {"rows": 1, "delimiter": ",", "columns": 2}),
    "a column without a name": (
        b",name,age\n0,ada,36\n1,bob,41\n",
        {"rows": 2, "header": ["", "name", "age"]},
    ),
    "two columns without names": (b",,age\n0,ada,36\n", {"rows": 2, "header": None}),
    "decimal commas": (b"a;b\n1,5;2,5\n3,5;4,5\n", {"delimiter": ";", "columns": 2}),
    "decimal commas alone": (b"1,5;2,5\n3,5;4,5\n", {"delimiter": ";", "columns": 2}),
    "no-break spaces in numbers": (
        "1\xa0500,00;2\n2\u202f300,10;3\n".encode(),
        {"header": None, "rows": 2, "delimiter": ";"},
    ),
    "spaces after commas": (b"name, age\nada, 36\nbob, 41\n", {"columns": 2, "rows": 2}),
    "sentences in a column": (
        b"id, text\n1, Buy bread.\n2, Call home.\n3, Go.\n",
        {"columns": 2, "rows": 3},
    ),
    "three thousand columns": (wide(3_000, ";").encode(), {"columns": 3000, "rows": 1}),
    "twenty thousand columns": (wide(20_000, ",", "c").encode(), {"columns": 20_000, "rows": 1}),
    "wide in cp1251": (wide(9_000, "\t").encode("cp1251"), {"columns": 9_000, "rows": 1}),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_as_spreadsheets_read_them(name: str) -> None:
    """Rows end at CR, LF and CRLF alone, outside of quotes."""
    content, expected = TABLES[name]
    found = look(None, content)
    assert found.kind == "csv"
    assert {key: found.result[key] for key in expected} == expected
    assert found.result["valid"]


@pytest.mark.parametrize(
    "text",
    [
        "Bread, milk, eggs.\nThen home, dinner, bed.\n",
        "Иван, Пётр и Мария пошли, куда глаза глядят.\nОлег, Анна и Вера остались, где были.\n",
        "Он пришёл; она ушла.\nОн сел; она встала.\n",
        "In 1990, he moved.\nIn 1995, she followed.\nIn 2001, they left.\nIn 2005, they came.\n",
        "Вечер тихий, тёплый, ясный,\nЛес далёкий, тёмный, красный,\n",
        "Dear Sir,\n\nyes, I will.\n\nregards, me\n",
        "2026-11-30 10:00:00,123 INFO on\n2026-11-30 10:00:01,456 WARN off\n",
        "\tfirst\n\tsecond\n\tthird\n",
        "a { color: red; margin: 0 }\n",
        "a{" + ";".join(f"color:#{n:06x}" for n in range(9_000)) + "}",
        "var a=[" + ",".join(f"{{x:f({n})}}" for n in range(9_000)) + "];",
        "one line, no more",
    ],
)
def test_prose_and_programs_are_no_tables(text: str) -> None:
    """Punctuation is no delimiter."""
    assert look(None, text.encode()).kind == "text"


@given(st.lists(st.text(st.sampled_from("ab\r\n\x0b\x0c\x1c\x85\u2028,")), max_size=8))
def test_lines_are_those_of_the_csv_module(pieces: list[str]) -> None:
    """Wherever a text is cut, its lines are the ones that Python's own reader of files sees."""
    text = "".join(pieces)
    assert list(lines(pieces)) == list(io.StringIO(text, newline=""))


CELLS = st.lists(st.text('aя,;"\n\r\u2028 .', max_size=5), min_size=2, max_size=3)


@given(rows=st.lists(CELLS, max_size=6), size=st.integers(1, 9))
def test_quoted_rows_come_back(rows: list[list[str]], size: int) -> None:
    """Of what a program wrote the rows are the same, wherever the text is cut."""
    made = io.StringIO()
    standard.writer(made, quoting=standard.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    text = made.getvalue()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert list(standard.reader(lines(pieces), strict=True)) == rows
