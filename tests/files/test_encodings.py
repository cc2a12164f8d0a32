"""The encoding of a text that does not say it, by its letters and the languages expected."""

from __future__ import annotations

import codecs
import random
import typing
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.files.inspectors import Task, encodings
from atelier.files.inspectors.guesses import Guess
from atelier.files.inspectors.table import inspect
from atelier.files.inspectors.text import PIECE_BYTES, encoding_of
from atelier.settings import Settings
from atelier.settings.work import Language
from tests.files.corpus import ENCODINGS, Sample, samples

DEFAULT = ("ru", "en")
LETTER = "Уважаемые коллеги! Отчёт за март готов, замечания шлите до среды.\n"
TASK = Task("text", "text/plain", 1)


def verdict(sample: Sample) -> str:
    """Whether the name that is told reads the text as it was written."""
    guess = encodings.guess(sample.data, sample.languages)
    if not guess.sure:
        return "unsure"
    return "right" if sample.data.decode(guess.encoding, "replace") == sample.text else "wrong"


@pytest.mark.parametrize("language", ENCODINGS)
def test_texts_as_people_write_them_are_told(language: str) -> None:
    """Most of even single names and labels, in capitals or not; next to none is told wrong."""
    counts = Counter(verdict(sample) for sample in samples() if sample.language == language)
    assert counts["right"] >= 0.83 * counts.total()
    assert counts["wrong"] <= 0.055 * counts.total()


@pytest.mark.parametrize("capitals", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS["ru"])
def test_a_sentence_of_russian_is_told_in_any_encoding(encoding: str, *, capitals: bool) -> None:
    """Of a line or more there is no doubt."""
    text = LETTER.upper() if capitals else LETTER
    assert encodings.guess(text.encode(encoding), DEFAULT).encoding == encoding
    assert encodings.guess(text.encode(encoding), DEFAULT).confidence > 0.99


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("これはテストの文章です。よろしくお願いします。", "shift_jis"),
        ("これはテストの文章です。よろしくお願いします。", "euc_jp"),
        ("今天天气很好,我们一起去公园散步,晚上回家吃饭。", "gb18030"),
        ("今天天氣很好,我們一起去公園散步,晚上回家吃飯。", "big5"),
        ("오늘은 날씨가 좋아서 공원에서 산책을 했습니다.", "euc_kr"),
        ("مرحبا بكم في المكتبة العامة للمدينة", "cp1256"),
        ("Η βιβλιοθήκη θα είναι κλειστή το Σάββατο.", "cp1253"),
        ("הספרייה תהיה סגורה ביום שישי הקרוב", "cp1255"),
    ],
)
def test_languages_that_nobody_expected_are_told_if_there_is_enough(
    text: str, encoding: str
) -> None:
    """A sentence beats the languages that are set."""
    guess = encodings.guess(text.encode(encoding), DEFAULT)
    assert (guess.encoding, guess.sure) == (encoding, True)


def test_the_languages_that_are_set_decide_where_bytes_do_not() -> None:
    """The same bytes are a Greek month or a Russian one."""
    data = "Φεβ.".encode("cp1253")
    assert encodings.guess(data, ("el", "en")).encoding == "cp1253"
    assert encodings.guess(data, DEFAULT).encoding == "cp1251"


def test_frames_of_cp866_are_no_letters() -> None:
    """A table drawn with lines is told by its words; lines alone are not taken for letters."""
    table = "╔════════╦═════╗\n║ Остаток ║ 120 ║\n║ Приход ║ 15 ║\n╚════════╩═════╝\n"
    assert encodings.guess(table.encode("cp866"), DEFAULT).encoding == "cp866"


@pytest.mark.parametrize("data", [bytes(range(128, 256)) * 50, random.Random(3).randbytes(4000)])
def test_noise_is_unsure(data: bytes) -> None:
    """No name is better than a wrong one."""
    found = inspect(TASK, data.replace(b"\0", b"")).result
    assert found["encoding"] is None
    assert found["confidence"] < 0.5


def test_unsure_texts_are_counted_all_the_same() -> None:
    """A text without a sure encoding has its lines and characters, and how unsure it is."""
    found = inspect(TASK, b"\xdd\xf5\xee\n").result
    assert (found["encoding"], found["lines"], found["characters"]) == (None, 1, 4)
    assert 0 < found["confidence"] < 0.8


@given(data=st.binary(max_size=400), oem=st.booleans())
def test_anything_is_guessed_at(data: bytes, *, oem: bool) -> None:
    """Whatever the bytes: a codec that Python has, and a probability."""
    guess = encodings.guess(data, DEFAULT, oem=oem)
    assert codecs.lookup(guess.encoding)
    assert 0 <= guess.confidence <= 1


@given(st.binary(max_size=300))
def test_any_bytes_are_a_text_of_some_encoding(data: bytes) -> None:
    """A text is read to its end whatever it is made of, with marks or without."""
    assert inspect(TASK, data).result["characters"] <= len(data)


def test_every_language_has_letters_and_a_setting() -> None:
    """What may be set is what has a model; each table of letters is a whole square."""
    assert set(typing.get_args(Language)) == set(encodings.ENCODINGS)
    for alphabet, costs in encodings._table().values():
        assert len(costs) == (len(alphabet) + 1) ** 2
    assert set(encodings._table()) == set(encodings.ENCODINGS) - set(encodings.WIDE)
    assert Settings.model_fields["text_languages"].default == Task("text", "", 1).languages


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("mark", [True, False])
def test_large_wide_texts_are_read_to_their_end(encoding: str, *, mark: bool) -> None:
    """The second piece goes on in the byte order that the mark of the first one told."""
    text = ("a line of words\r\n" * 80_000) + "last"
    data = text.encode(encoding)
    if mark and encoding.endswith("e"):
        data = "\ufeff".encode(encoding) + data
    assert len(data) > PIECE_BYTES
    found = inspect(TASK, data).result
    assert (found["lines"], found["words"]) == (80_001, 320_001)
    assert found["characters"] - len(text) in {0, 1}
    progress, left = None, data
    while left:
        piece, left = left[: PIECE_BYTES + 4], left[PIECE_BYTES + 4 :]
        task = Task("text", "text/plain", 1, piece=True, last=not left)
        seen = inspect(task, piece, progress)
        progress = seen.progress
    assert seen.result == found


def test_pieces_of_ascii_leave_the_encoding_open() -> None:
    """The first piece with other bytes tells it."""
    progress = None
    for piece, last in ((b"plain\n" * 100, False), (LETTER.encode("koi8-r"), True)):
        task = Task("text", "text/plain", 1, piece=True, last=last)
        found = inspect(task, piece, progress)
        progress = found.progress
    assert (found.result["encoding"], found.result["words"]) == ("koi8_r", 110)


def test_utf8_with_a_broken_byte_is_utf8() -> None:
    """A cut or a slip makes no other encoding of it; how much is broken lowers the confidence."""
    data = LETTER.encode() * 20
    assert encoding_of(data[:500] + b"\xff" + data[500:], DEFAULT) == Guess("utf-8", 0.997)
    assert encoding_of(data[:-30] + b"\xd0", DEFAULT).encoding == "utf-8"
