"""Titles, descriptions and tags are normalised, bounded, and refused when not storable."""

from __future__ import annotations

import pytest

from atelier.errors import Invalid
from atelier.images import texts

DECOMPOSED = "e\u0301"  # é as two characters before NFC


@pytest.mark.parametrize("length", [0, 1, 199, 200])
def test_descriptions_up_to_the_limit_are_kept(length: int) -> None:
    """Descriptions of 0 to 200 characters are accepted as they are."""
    assert texts.description("ж" * length, 200) == "ж" * length


@pytest.mark.parametrize("text", ["ж" * 201, "🙂" * 201, DECOMPOSED * 201])
def test_longer_descriptions_are_refused(text: str) -> None:
    """201 characters after NFC are one too many, and the error names the field."""
    with pytest.raises(Invalid) as caught:
        texts.description(text, 200)
    assert caught.value.errors[0]["loc"] == ["body", "description"]


def test_the_limit_counts_characters_after_nfc() -> None:
    """400 code points that compose to 200 characters fit."""
    assert len(texts.description(DECOMPOSED * 200, 200)) == 200


def test_line_ends_become_newlines() -> None:
    """CRLF and CR, as browsers send them, count and are kept as one newline each."""
    assert texts.description("a\r\nb\rc\nd", 7) == "a\nb\nc\nd"


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\x85", "\ud800"])
def test_control_characters_are_refused(character: str) -> None:
    """Neither PostgreSQL nor a screen can hold NUL, escapes or lone surrogates."""
    for clean in (
        lambda text: texts.description(text, 200),
        texts.title,
        lambda text: texts.tags([text]),
    ):
        with pytest.raises(Invalid):
            clean(f"a{character}b")


@pytest.mark.parametrize(
    ("given", "kept"), [("  two   words \n", "two words"), ("x" * 300, "x" * 300)]
)
def test_titles_are_one_line(given: str, kept: str) -> None:
    """White space in a title is folded, so that it stays one line."""
    assert texts.title(given) == kept


@pytest.mark.parametrize("given", ["", "   ", "\n\t", "x" * 301])
def test_empty_and_long_titles_are_refused(given: str) -> None:
    """A title has 1 to 300 characters."""
    with pytest.raises(Invalid):
        texts.title(given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], []),
        (["a,b", "c"], ["a", "b", "c"]),
        (["a", " a ", "A"], ["a", "A"]),
        ([" , ,"], []),
        (["two  words"], ["two words"]),
        (["x" * 100], ["x" * 100]),
    ],
)
def test_tags_are_split_folded_and_unique(given: list[str], kept: list[str]) -> None:
    """Tags come repeated or comma-separated, keep their order and lose repeats."""
    assert texts.tags(given) == kept


@pytest.mark.parametrize("given", [["x" * 101], [f"tag{n}" for n in range(51)]])
def test_too_long_or_too_many_tags_are_refused(given: list[str]) -> None:
    """A tag has at most 100 characters, a picture at most 50 tags."""
    with pytest.raises(Invalid):
        texts.tags(given)
