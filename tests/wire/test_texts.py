"""Texts are bounded before they are normalised, whichever way they come."""

from __future__ import annotations

import ast
import sys
import unicodedata
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atelier
from atelier.accounts.schemas import EMAIL_MAX, PASSWORD_MAX, Registration, folded
from atelier.auth.passwords import _composed
from atelier.books import texts as books
from atelier.errors import Invalid
from atelier.images import texts as images
from atelier.tasks.incoming import META_LIMIT, _meta
from atelier.wire import texts
from atelier.wire.multipart import clean_name
from atelier.wire.texts import MARKS, RAW_FACTOR, RAW_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

ACUTE, TIBETAN = "\u0301", "\u0f73"  # the second has the class 0 and is two marks taken apart
PILE = "a" + "\u0301\u0316" * 500_000  # 2 MB, whose normalisation would take a minute
WORDS = st.text(
    st.one_of(
        st.sampled_from(["e", " ", ",", ACUTE, "\u0316", TIBETAN, "\u212b"]), st.characters()
    )
)
WAYS: dict[str, Callable[[str], object]] = {
    "title": images.title,
    "description": partial(images.description, limit=200),
    "tags": lambda text: images.tags([text]),
    "book": books.line,
    "filter": partial(texts.composed, most=200),
    "folded": books.folded,
    "meta": lambda text: _meta({"meta": text}),
    "address": lambda text: Registration(email=f"{text}@example.org", password="a" * 9),
    "address folded": folded,
    "password": lambda text: Registration(email="a@example.org", password=text),
    "password checked": _composed,
    "file name": clean_name,
}


@given(WORDS, st.integers(0, 40), st.integers(0, 40))
def test_texts_that_are_taken_are_normal_and_bounded(text: str, least: int, most: int) -> None:
    """What `clean` and `line` give is in NFC, within its bounds, and stays as it is."""
    for judge in (texts.clean, texts.line):
        try:
            taken = judge(text, least, most)
        except ValueError:
            continue
        assert unicodedata.is_normalized("NFC", taken)
        assert least <= len(taken) <= most
        assert judge(taken, least, most) == taken


@given(WORDS)
def test_what_is_not_piled_up_is_normalised_as_ever(text: str) -> None:
    """Up to the bounds a text becomes its NFC, no more and no less."""
    runs = "".join("m" if unicodedata.category(c)[0] == "M" else "-" for c in text).split("-")
    if max(map(len, runs)) > MARKS:
        with pytest.raises(ValueError, match="combining marks"):
            texts.composed(text, 1000)
    else:
        assert texts.composed(text, 1000) == unicodedata.normalize("NFC", text)
        assert texts.squeezed(text) == unicodedata.normalize("NFC", text)


@given(st.integers(1, 50), st.sampled_from(["\u1f82", "\ufb2c", "\u1e09", "\uac01", "\u0390"]))
def test_a_text_that_fits_is_never_too_long_before(most: int, letter: str) -> None:
    """However a client composes its letters, as many as are allowed are taken."""
    text = unicodedata.normalize("NFD", letter) * most
    assert len(text) <= most * RAW_FACTOR <= texts.raw_limit(most)
    wanted = unicodedata.normalize("NFC", text)
    assert texts.composed(text, len(wanted)) == wanted


def test_no_character_is_more_than_the_factor() -> None:
    """No character is taken apart into more than the factor, nor into marks alone unnoticed."""
    for code in range(sys.maxunicode + 1):
        apart = unicodedata.normalize("NFD", chr(code))
        assert len(unicodedata.normalize("NFD", unicodedata.normalize("NFC", apart))) <= RAW_FACTOR
        assert not unicodedata.combining(apart[0]) or unicodedata.category(chr(code))[0] == "M"


@pytest.mark.parametrize("mark", [ACUTE, TIBETAN, "\u0903", "\u20dd"])
def test_thirty_marks_in_a_row_and_no_more(mark: str) -> None:
    """The 31st combining mark of a run is refused, whatever its kind; a name loses it."""
    thirty, more = "a" + mark * MARKS, "a" + mark * (MARKS + 1)
    assert texts.clean(thirty, 0, 100)
    with pytest.raises(ValueError, match="More than 30 combining marks"):
        texts.clean(more, 0, 100)
    assert texts.squeezed(more) == texts.squeezed(thirty)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", [PILE, PILE[:9000], PILE[:120], "é" * 1_000_000, "a" * 1_000_000])
def test_little_of_a_large_text_is_normalised(
    monkeypatch: pytest.MonkeyPatch, way: str, text: str
) -> None:
    """What reaches `normalize` is of bounded length, and of bounded runs of marks."""
    seen: list[str] = []
    normalize = unicodedata.normalize

    def counted(form: str, given: str) -> str:
        seen.append(given)
        return normalize(form, given) if len(given) <= RAW_LIMIT else given

    monkeypatch.setattr(unicodedata, "normalize", counted)
    with suppress(Invalid, ValueError):
        WAYS[way](text)
    if way not in {"file name", "password checked"}:  # never refused; 8 KiB at most come to them
        assert sum(map(len, seen)) <= 4 * RAW_LIMIT
    assert not any("\u0301\u0316" * (MARKS // 2 + 1) in each for each in seen)


def test_tags_together_are_bounded() -> None:
    """A million empty tags, or one large one, are refused before they are looked at."""
    for many in ([""] * 20_000 + ["," * 30_000], ["," * 1_000_000], ["x" * 100] * 1000):
        with pytest.raises(Invalid, match="Some values"):
            images.tags(many)
    assert images.tags(["x" * 100] * 40 + [f" {number}" for number in range(49)])


def test_limits_of_raw_texts() -> None:
    """A text of the largest limit may be sent in its longest form."""
    assert texts.raw_limit(META_LIMIT) == META_LIMIT * RAW_FACTOR
    assert texts.raw_limit(EMAIL_MAX) == texts.raw_limit(PASSWORD_MAX) == RAW_LIMIT


def test_one_module_normalises() -> None:
    """Nothing outside `wire.texts` and the imaging of captions calls `normalize`."""
    root = Path(atelier.__file__).parent
    callers = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr == "normalize"
        and isinstance(node.value, ast.Name)
        and node.value.id == "unicodedata"
    }
    assert {name for name in callers if not name.startswith("imaging/")} == {"wire/texts.py"}
