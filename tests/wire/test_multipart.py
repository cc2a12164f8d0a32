"""The names of files in forms."""

from __future__ import annotations

import pytest

from atelier.wire.multipart import NAME_CHARACTERS, clean_name


@pytest.mark.parametrize(
    ("sent", "clean"),
    [
        ("a\0b\n.jpg", "ab.jpg"),
        ("Опись\u00a015.jpg", "Опись 15.jpg"),
        ("a\u2009\u3000 b\u2028c.jpg\u202f", "a b c.jpg"),
        ("a\u200bb.jpg", "ab.jpg"),
        ("  a.jpg ", "a.jpg"),
        ("a/", ""),
        ("\u202egpj.exe", "gpj.exe"),
        ("e\u0301.jpg", "é.jpg"),
        ("x" * 300 + ".jpeg", "x" * (NAME_CHARACTERS - 5) + ".jpeg"),
        ("x" * 300, "x" * NAME_CHARACTERS),
        ("." + "x" * 300, "." + "x" * (NAME_CHARACTERS - 1)),
    ],
)
def test_names_are_cleaned(sent: str, clean: str) -> None:
    """Nothing invisible, no path, ordinary blanks, a bounded length that keeps the ending."""
    assert clean_name(sent) == clean
