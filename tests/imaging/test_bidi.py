"""Right-to-left ordering and the joining of Arabic letters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.imaging.bidi import join_arabic, right_to_left, visual


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("abc", False),
        ("123", False),
        ("12 שלום", True),
        ("abc שלום", False),
        ("(مرحبا", True),
    ],
)
def test_the_first_strong_letter_decides(text: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """A paragraph runs as its first letter with a direction does."""
    assert right_to_left(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abc", "abc"),
        ("אבג", "גבא"),
        ("אבג abc", "abc גבא"),
        ("אבג 123 דה", "הד 123 גבא"),
        ("אב (abc) גד", "דג (abc) בא"),
        ("(אב)", "(בא)"),
        ("אב 12.5, 7", "7 ,12.5 בא"),
        ("אב 5% גד", "דג 5% בא"),
        ("א\u05b8ב", "בא\u05b8"),
    ],
)
def test_right_to_left_lines_are_drawn_backwards(text: str, expected: str) -> None:
    """Letters are turned round, numbers and Latin words are not, brackets are mirrored, marks stay on their base."""
    assert visual(text, rtl=right_to_left(text)) == expected


def test_hebrew_within_latin_turns_alone() -> None:
    """In a left-to-right line only the Hebrew words are turned."""
    assert visual("one אבג דה two", rtl=False) == "one הד גבא two"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\u0628", "\ufe8f"),
        ("\u0628\u0628", "\ufe91\ufe90"),
        ("\u0628\u0628\u0628", "\ufe91\ufe92\ufe90"),
        ("\u0627\u0628", "\ufe8d\ufe8f"),
        ("\u0628\u0627\u0628", "\ufe91\ufe8e\ufe8f"),
        ("\u0644\u0627", "\ufefb"),
        ("\u0628\u0644\u0627", "\ufe91\ufefc"),
        ("\u0628\u064e\u0628", "\ufe91\u064e\ufe90"),
        ("\u0628 \u0628", "\ufe8f \ufe8f"),
        ("abc", "abc"),
    ],
)
def test_arabic_letters_join(text: str, expected: str) -> None:
    """Each letter takes the form that its neighbours ask for, across marks; lam and alef become one."""
    assert join_arabic(text) == expected


@given(text=st.text(alphabet="ab1 (.אבﻻبلا\u0628\u064e\u05b8%", max_size=30))
def test_nothing_is_lost(text: str) -> None:
    """Ordering keeps every cluster: only letters that join, and lam with alef, change what is there."""
    ordered = visual(text, rtl=right_to_left(text))
    assert len(ordered) == len(join_arabic(text))
