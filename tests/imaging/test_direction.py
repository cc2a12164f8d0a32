"""Directions of paragraphs and of lines cut out of them, against FriBidi."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atelier.imaging.direction import MARKS, Paragraph, right_to_left
from tests.imaging.fribidi import visual


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
def test_the_first_strong_letter_decides(text: str, expected: bool) -> None:
    """A paragraph runs as its first letter with a direction does."""
    assert right_to_left(text) is expected


@pytest.mark.parametrize("text", ["one two (three) 4", "אחת שתיים", "one שתיים three"])
def test_a_whole_paragraph_has_no_marks(text: str) -> None:
    """A text that fits one line is drawn as it is."""
    assert Paragraph(text).line(0, len(text)) == text


def test_the_lines_of_a_latin_paragraph_have_no_marks() -> None:
    """Where everything runs one way nothing is added: such lines are drawn from cells."""
    assert Paragraph("one two three").line(4, 7) == "two"


@pytest.mark.usefixtures("fribidi")
@settings(max_examples=500, deadline=None)
@given(
    words=st.lists(st.text("abאבصر12-,.!%$", min_size=1, max_size=4), min_size=1, max_size=8),
    data=st.data(),
)
def test_a_line_alone_is_ordered_as_within_its_paragraph(
    words: list[str], data: st.DataObject
) -> None:
    """A line between its marks has the order that UAX #9 gives it within the whole paragraph."""
    text = " ".join(words)
    first = data.draw(st.integers(0, len(words) - 1), "first word")
    last = data.draw(st.integers(first + 1, len(words)), "word after the last")
    start = len(" ".join([*words[:first], ""])) if first else 0
    end = len(" ".join(words[:last]))
    paragraph = Paragraph(text)
    line = paragraph.line(start, end)
    alone = visual(line, 0, len(line), rtl=paragraph.rtl)
    seen = "".join(char for char in alone if char not in MARKS.values())
    assert seen == visual(text, start, end, rtl=paragraph.rtl)
