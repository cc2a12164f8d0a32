"""The names of files in forms."""

from __future__ import annotations

import pytest

from atelier.wire.multipart import NAME_CHARACTERS, clean_name


@pytest.mark.parametrize(
    ("sent", "clean"),
    [
        ("a\0b\n.jpg", "ab.jpg"),
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
    """Nothing invisible, no path, a bounded length that keeps the ending."""
    assert clean_name(sent) == clean
