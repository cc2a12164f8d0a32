"""Captions: all text inside the field, whatever the text, the font and the width."""

from __future__ import annotations

import itertools
import random
import string
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from atelier.errors import Invalid
from atelier.imaging import typeface as typefaces
from atelier.imaging.caption import MIN_SIZE, caption_field, clean, wrap
from atelier.imaging.characters import FORMATS
from atelier.imaging.coverage import BUNDLED_FONT
from atelier.imaging.typeface import Typeface, clusters, typeface
from tests.imaging.pictures import PHOTOS
from tests.imaging.texts import SEED, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atelier.imaging.pixels import Pixels


@pytest.fixture(params=["shaped", "unshaped"])
def shaping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Captions as they are drawn with libfribidi, and as they are without it."""
    if request.param == "shaped":
        request.getfixturevalue("fribidi")
    else:
        monkeypatch.setattr(typefaces, "shapes", lambda: False)
    typefaces.typeface.cache_clear()
    yield request.param
    typefaces.typeface.cache_clear()


def inside(field: np.ndarray[Any, Any], margin: int = 1) -> bool:
    """True if the outermost pixels of a field are black: all ink lies inside."""
    edges = (field[:margin], field[-margin:], field[:, :margin], field[:, -margin:])
    return all(int(edge.max()) == 0 for edge in edges)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("size", [8, 12, 17, 33, 64])
@pytest.mark.parametrize("width", [100, 640, 5000])
def test_all_text_lies_inside_the_field(name: str, size: int, width: int, shaping: str) -> None:
    """For any text, size and width, the caption is white ink with none at the field's edge."""
    field = caption_field(TEXTS[name], width, size)
    assert field.shape[1] == width
    assert field.max() > 128
    assert inside(field)


@pytest.mark.parametrize("width", [8, 16, 20, 31, 50])
@pytest.mark.parametrize("name", ["seed", "long cyrillic word", "combining", "hebrew", "emoji"])
def test_in_a_narrow_picture_the_letters_become_smaller(
    name: str, width: int, shaping: str
) -> None:
    """Where one letter is wider than the picture, the caption is set smaller until it fits."""
    field = caption_field(TEXTS[name], width, 64)
    assert field.shape[1] == width
    assert field.max() > 64
    assert inside(field) or (
        name == "emoji" and width == 8
    )  # a family of three is no letter of 8 pixels


@pytest.mark.parametrize("width", range(1, 8))
def test_a_picture_narrower_than_a_letter_still_has_a_field(width: int) -> None:
    """Below the smallest size letters are cut at the edge; the picture is never widened."""
    field = caption_field(SEED, width, 12)
    assert field.shape[1] == width
    assert field.shape[0] > MIN_SIZE
    assert field.any()


@pytest.mark.parametrize("size", [8, 12, 24, 64])
def test_the_height_is_that_of_the_lines(size: int) -> None:
    """One line, two lines, a blank line between: each adds the same height."""
    one, two, three = (len(caption_field(text, 1000, size)) for text in ("a", "a\nb", "a\n\nb"))
    step = sum(typeface(None, size).basic.getmetrics())
    assert two - one == three - two == step
    assert one >= step


def lines(text: str, width: int, size: int = 12) -> list[str]:
    """The lines that a text breaks into."""
    face = typeface(None, size)
    return [line.text for paragraph in clean(text) for line in wrap(paragraph, face, width)]


def test_words_stay_whole_while_they_can() -> None:
    """Lines break at spaces; joined again they are the text."""
    found = lines(SEED, 150)
    assert len(found) > 2
    assert " ".join(found) == SEED


def test_every_line_is_as_full_as_it_can_be() -> None:
    """No line could have taken the next word too."""
    face = typeface(None, 12)
    found = lines(SEED, 150)
    for line, after in itertools.pairwise(found):
        assert face.extent(line).width <= 150
        assert face.extent(f"{line} {after.split()[0]}").width > 150


def test_a_word_longer_than_a_line_breaks_inside() -> None:
    """A word without end fills line after line and loses no letter."""
    word = "".join(random.Random(1).choices(string.ascii_letters, k=200))
    found = lines(f"so {word} so", 100)
    assert found[0] == "so"
    assert "".join(found[1:]).removesuffix(" so") == word
    assert all(typeface(None, 12).extent(line).width <= 100 for line in found)


def test_a_broken_word_keeps_marks_with_their_base() -> None:
    """A line never starts with a combining mark, a joiner or half a flag."""
    found = lines("x\u0323\u0302" * 80, 60)
    assert len(found) > 3
    assert all(line.startswith("x") for line in found)
    flags = lines("🇷🇺" * 40, 100)
    assert all(line.startswith("🇷") for line in flags)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abc", ["a", "b", "c"]),
        ("e\u0301e", ["e\u0301", "e"]),
        ("👨\u200d👩\u200d👧!", ["👨\u200d👩\u200d👧", "!"]),
        ("🇷🇺🇩🇪", ["🇷🇺", "🇩🇪"]),
        ("👍🏽👍", ["👍🏽", "👍"]),
        ("\u0301a", ["\u0301", "a"]),
        ("", []),
    ],
)
def test_grapheme_clusters(text: str, expected: list[str]) -> None:
    """A character as a reader sees it is one cluster."""
    assert clusters(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb", ["a", "b"]),
        ("a\r\nb\rc", ["a", "b", "c"]),
        ("a\n\nb", ["a", "", "b"]),
        ("a\u2028b\u2029c\x85d", ["a", "b", "c", "d"]),
        ("a\tb", ["a   b"]),
        ("a\x00b\x1bc\u202ed\u00ade", ["abcde"]),
        ("и\u0306", ["й"]),
        ("a\ud800b", ["a?b"]),
    ],
)
def test_text_is_cleaned_for_drawing(text: str, expected: list[str]) -> None:
    """Newlines of every kind part paragraphs; tabs are spaces.

    What cannot be seen is not drawn.
    """
    assert clean(text) == expected


def test_newlines_are_kept_and_indents_too() -> None:
    """Lines that the author broke stay broken, and blanks before words stay before them."""
    assert lines("one\n\n  two", 500) == ["one", "", "  two"]


def test_cyrillic_is_drawn_by_the_bundled_font() -> None:
    """Every letter of the alphabet has a glyph of its own, not the box of a missing one."""
    face = typeface(None, 16)
    missing = face.cell("\ue123").ink
    alphabet = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
    drawn = {face.cell(letter).ink.tobytes() for letter in alphabet}
    assert len(drawn) == len(alphabet)
    assert missing.tobytes() not in drawn


def test_a_missing_glyph_is_seen() -> None:
    """A letter that the font lacks shows as a box: the reader sees that something stands there."""
    assert caption_field("\ue123", 100, 16).max() > 128


def test_plain_text_looks_as_pillow_draws_it() -> None:
    """Cells put side by side give Pillow's own line."""
    face = typeface(None, 12)
    ours = np.zeros((20, 400), np.uint8)
    face.draw(ours, 5, 15, SEED)
    image = Image.new("L", (400, 20))
    ImageDraw.Draw(image).text((5, 15), SEED, font=face.basic, fill=255, anchor="ls")
    assert np.abs(ours.astype(int) - np.asarray(image)).max() <= 1


@pytest.mark.usefixtures("fribidi")
def test_hebrew_is_drawn_from_the_right() -> None:
    """A right-to-left paragraph stands at the right edge, its first letter rightmost."""
    field = caption_field("אבג", 300, 16)
    columns = np.flatnonzero(field.any(axis=0))
    assert columns.min() > 200
    first = caption_field("א", 300, 16)
    width = np.flatnonzero(first.any(axis=0))
    assert (field[:, width.min() :] == first[:, width.min() :]).mean() > 0.97


def ink(text: str, *, rtl: bool = False) -> Pixels:
    """One line as it is drawn, without the black around it."""
    field = np.zeros((80, 1000), np.uint8)
    typeface(None, 32).draw(field, 100, 50, text, rtl=rtl)
    columns = np.flatnonzero(field.any(axis=0))
    return field[:, columns.min() : columns.max() + 1]


def forced(text: str) -> Pixels:
    """The same with every letter where it is written, from left to right."""
    return ink(f"\u202d{text}\u202c")


@pytest.mark.usefixtures("fribidi")
@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("אבג", "גבא"),
        ("אבג 123 דה", "הד 123 גבא"),
        ("אב (abc) גד", "דג (abc) בא"),
        ("(אב)", "(בא)"),
        ("אב 12.5, 7", "7 ,12.5 בא"),
        ("אב 5% גד", "דג 5% בא"),
        ("אב 2024-05-17", "2024-05-17 בא"),
    ],
)
def test_a_line_that_runs_right_to_left_is_drawn_in_that_order(text: str, drawn: str) -> None:
    """Letters are turned round, numbers and Latin words are not, brackets are mirrored."""
    assert (ink(text, rtl=True) == forced(drawn)).all()


@pytest.mark.usefixtures("fribidi")
def test_a_date_after_arabic_letters_runs_from_the_right() -> None:
    """A hyphen joins no Arabic numbers (UAX #9, W4): the year stands rightmost."""
    date = forced("17-05-2024")
    assert (ink("صورة 2024-05-17", rtl=True)[:, : date.shape[1]] == date).all()


@pytest.mark.usefixtures("fribidi")
def test_a_date_on_a_line_of_its_own_keeps_its_order() -> None:
    """Text that runs from the right in a wide picture does so in a narrow one, too."""
    _, second = wrap("صورة 2024-05-17", typeface(None, 32), 200)
    assert (ink(second.text, rtl=second.rtl) == forced("17-05-2024")).all()


@pytest.mark.usefixtures("fribidi")
def test_a_latin_line_of_a_hebrew_paragraph_ends_at_the_left() -> None:
    """A full stop stands where its paragraph ends, though its line has no Hebrew letter."""
    _, second = wrap("שלומותינו abc def.", typeface(None, 32), 150)
    assert (ink(second.text, rtl=second.rtl) == forced(".abc def")).all()


@pytest.mark.usefixtures("fribidi")
def test_arabic_letters_join_and_points_take_no_room() -> None:
    """Joined letters are narrower than single ones; points stand below their letters."""
    joined, single = ink("ههه", rtl=True), ink("ه\u200cه\u200cه", rtl=True)
    assert joined.shape[1] < single.shape[1]
    pointed, bare = ink("שָלוֹם", rtl=True), ink("שלום", rtl=True)
    assert pointed.shape == bare.shape
    assert pointed.sum() > bare.sum()


@pytest.mark.parametrize("text", ["אבג \u200fדה", "مرحبا", "a\u200db"])
def test_without_the_library_letters_stand_alone(
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each glyph as the font has it, from left to right; invisible marks are no boxes."""
    monkeypatch.setattr(typefaces, "shapes", lambda: False)
    face = Typeface(BUNDLED_FONT.read_bytes(), 32)
    drawn, expected = np.zeros((80, 400), np.uint8), np.zeros((80, 400), np.uint8)
    face.draw(drawn, 50, 50, text, rtl=True)
    x = 50
    for char in text:
        if char not in FORMATS:
            cell = face.cell(char)
            rows, columns = cell.ink.shape
            part = expected[50 + cell.top :, x + cell.left :][:rows, :columns]
            np.maximum(part, cell.ink, out=part)
            x += cell.advance
    assert (drawn == expected).all()


@pytest.mark.parametrize("size", [-1, 0, MIN_SIZE - 1, 513, 10**9])
def test_a_size_without_sense_is_refused(size: int) -> None:
    """A caption is set in letters that can be seen, on a field that can be stored."""
    with pytest.raises(Invalid, match="size"):
        caption_field("x", 100, size)


@pytest.mark.parametrize("path", ["/no/such/font.ttf", str(PHOTOS / "README.md"), str(PHOTOS)])
def test_a_font_that_is_none_is_refused(path: str) -> None:
    """A missing file, a text and a folder are refused in words."""
    with pytest.raises(Invalid, match="font"):
        caption_field("x", 100, 12, path)


def test_another_font_is_used() -> None:
    """The font is a setting."""
    path = str(BUNDLED_FONT)
    assert (caption_field(SEED, 300, 12, path) == caption_field(SEED, 300, 12)).all()


@settings(max_examples=120)
@given(text=st.text(max_size=60), width=st.integers(1, 400), size=st.integers(8, 64))
def test_no_text_breaks_a_caption(text: str, width: int, size: int) -> None:
    """Any text of any script on a picture of any width gives a field of its width."""
    field = caption_field(text, width, size)
    assert field.shape[1] == width
    if width >= 16:
        assert inside(field)
