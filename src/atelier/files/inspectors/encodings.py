"""Tells the encoding of texts that do not say it: by how often letters follow each other.

Each encoding of each language is a model of bytes: what a byte costs after the one before it, in
nats, which is less the more likely it is. The cheapest model names the encoding; how much dearer
the next one is that reads something else says how sure that is. Costs of letters are those of the
language's words (`letters.json`, made by `scripts/letters.py`), whatever their case; to them come
costs of a case within a word and of signs at places where no typist puts them.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atelier.files.inspectors.guesses import Guess

SAMPLE_BYTES = 64 * 1024  # from the first byte above ASCII
CONTEXT_BYTES = 64  # before it
MOST, SHORT = (
    5.5,
    3,
)  # nats for each of the bytes that differ, and so many more; above, it is no text
# Nats against languages that are not expected: of an expected one's script, of other scripts, and
# of thousands of characters, which fit what no alphabet does.
KIN, FOREIGN, FAR = 2.0, 6.0, 14.0
STEP, FIRST = 0.2, ord("0")  # how letters.json writes costs

FOREIGN_LETTER, FOREIGN_SCRIPT = 7.5, 11.0  # costs of letters that a language does not have
_HIGH = re.compile(rb"[\x80-\xff]")
_WIDE = re.compile(r"[^\x00-\x7f]")
_SEAM = re.compile(r"(?<=[A-Za-z])[^\x00-\x7f]|(?<=[^\x00-\x7f])[A-Za-z]")
MIXED = 5.0  # nats for a letter beside a Chinese, Japanese or Korean character

# Encodings of groups of languages, with what is against each: rarer ones need better evidence.
_CYRILLIC = {"cp1251": 0.0, "cp866": 1.0, "koi8_r": 1.0, "iso8859_5": 2.5, "mac_cyrillic": 3.0}
_WESTERN = {
    "cp1252": 0.0, "iso8859_15": 2.0, "mac_roman": 2.5, "cp850": 2.0, "cp437": 2.5,
}  # fmt: skip
_CENTRAL = {"cp1250": 0.0, "iso8859_2": 0.7, "cp852": 2.0}
_BALTIC = {"cp1257": 0.0, "iso8859_13": 1.0}
ENCODINGS: Mapping[str, Mapping[str, float]] = {
    **dict.fromkeys(("ru", "bg", "mk"), _CYRILLIC),
    "uk": _CYRILLIC | {"koi8_u": 1.0, "cp1125": 1.5},
    **dict.fromkeys(("en", "de", "fr", "es", "it", "pt", "nl", "da", "no", "sv", "fi"), _WESTERN),
    **dict.fromkeys(("pl", "cs", "sk", "hu", "ro", "hr", "sl"), _CENTRAL),
    **dict.fromkeys(("et", "lt", "lv"), _BALTIC),
    "tr": {"cp1254": 0.0, "iso8859_9": 1.0, "cp857": 2.5},
    "el": {"cp1253": 0.0, "iso8859_7": 1.0, "cp737": 2.5},
    "he": {"cp1255": 0.0, "iso8859_8": 1.0, "cp862": 2.5},
    "ar": {"cp1256": 0.0, "iso8859_6": 2.0},
    "fa": {"cp1256": 0.0},
    "ja": {"shift_jis": 0.0, "euc_jp": 0.5},
    "zh": {"gb18030": 0.0, "big5": 0.5},
    "ko": {"euc_kr": 0.0},
}
# Code pages of DOS, which Windows calls OEM: those of names in zip archives.
OEM = ("cp866", "cp1125", "cp437", "cp850", "cp852", "cp857", "cp737", "cp862")
OEM_LEAD = 3.0  # nats that other encodings have against them there
WIDE = ("ja", "zh", "ko")  # languages with characters of two bytes
SINGLE = tuple(sorted({name for one in ENCODINGS for name in ENCODINGS[one] if one not in WIDE}))
EVERY = tuple(sorted({name for one in ENCODINGS.values() for name in one}))


NOTHING = Guess("cp1252", 0.0)


def guess(data: bytes, languages: Sequence[str], *, oem: bool = False) -> Guess:
    """The encoding of a text with bytes above ASCII that is not Unicode.

    `languages` are the ones to expect: others need clearly better evidence. `oem`: it is a name in
    an archive. Takes time linear in the sample, of which there is at most `SAMPLE_BYTES`.
    """
    found = _HIGH.search(data)
    if not found:
        return NOTHING
    start = max(0, found.start() - CONTEXT_BYTES)
    sample = b" " + data[start : found.start() + SAMPLE_BYTES] + b" "
    costs, told = _costs(sample, languages, oem=oem)
    best = min(costs, key=lambda one: costs[one])
    if costs[best] > MOST * (told + SHORT):
        return Guess(best[1], 0.0)
    return Guess(best[1], _confidence(best, costs, sample))


def _confidence(
    best: tuple[str, str], costs: Mapping[tuple[str, str], float], sample: bytes
) -> float:
    """The share of the models that read the sample as the best one does, by their weights."""
    text = sample.decode(best[1], "replace")
    agree = total = 0.0
    same: dict[str, bool] = {}
    for (_, encoding), cost in costs.items():
        weight = math.exp(costs[best] - cost)
        if weight > 1e-6:
            if encoding not in same:
                same[encoding] = sample.decode(encoding, "replace") == text
            agree += weight * same[encoding]
            total += weight
    return round(agree / total, 3)


def _costs(
    sample: bytes, languages: Sequence[str], *, oem: bool
) -> tuple[dict[tuple[str, str], float], int]:
    """The cost of the sample in each language and encoding, and of how many bytes it is."""
    codes = np.frombuffer(sample, np.uint8).astype(np.intp)
    pairs, counts = np.unique(codes[:-1] * 256 + codes[1:], return_counts=True)
    first, second = pairs // 256, pairs % 256
    told = (first >= 0x80) | (second >= 0x80)  # the others read the same in every encoding
    first, second, counts = first[told], second[told], counts[told]
    repeated = counts * (first == second)
    forms = {}
    for name in SINGLE:
        shapes = _shapes(name)
        a, b = shapes[first], shapes[second]
        common, capitals = (float((cased[a, b] * counts).sum()) for cased in _CASES)
        forms[name] = float((_SHAPES[a, b] * counts).sum()) + min(common, capitals + CAPITALS)
        forms[name] -= LINE * float(repeated[a == BOX].sum())
        forms[name] += UNPAIRED * float(counts[(b == OPEN) | (b == CLOSE)].sum() % 2)
    found: dict[tuple[str, str], float] = {}
    for language, encodings in ENCODINGS.items():
        against = _against(language, languages)
        for name, rarity in encodings.items():
            lead = _oem_lead(name, rarity) if oem else 0.0
            if language in WIDE:
                cost = _wide_cost(sample, name)
            else:
                letters = _classes(language, name)
                cost = forms[name] + float(
                    (_following(language)[letters[first], letters[second]] * counts).sum()
                )
            found[language, name] = cost + against + rarity + lead
    return found, int(counts.sum())


def _oem_lead(encoding: str, rarity: float) -> float:
    """What is to be added to an encoding's rarity where code pages of DOS are the rule."""
    return -rarity if encoding in OEM else OEM_LEAD


def _against(language: str, preferred: Sequence[str]) -> float:
    """What is against a language, by those that are expected."""
    if language in preferred:
        return 0.0
    if language in WIDE:
        return FAR
    own = _script(_table()[language][0][0])
    return (
        KIN
        if any(own == _script(_table()[one][0][0]) for one in preferred if one in _table())
        else FOREIGN
    )


@cache
def _table() -> Mapping[str, tuple[str, str]]:
    """The alphabet of each language, and the costs of its letters after each other."""
    found: dict[str, tuple[str, str]] = json.loads(
        Path(__file__).with_name("letters.json").read_text("utf-8")
    )
    return found


@cache
def _following(language: str) -> NDArray[np.float32]:
    """Costs by classes: no letter, the alphabet's, other letters of its script, other scripts."""
    alphabet, written = _table()[language]
    size = len(alphabet) + 1
    costs = np.empty((size + 2, size + 2), np.float32)
    costs[:size, :size] = (
        (np.frombuffer(written.encode("ascii"), np.uint8).astype(np.float32) - FIRST) * STEP
    ).reshape(size, size)
    costs[0, 0] = 0.0
    costs[:, size], costs[:, size + 1] = FOREIGN_LETTER, FOREIGN_SCRIPT
    costs[size:, :size] = 5.0
    costs[size + 1, :size] = FOREIGN_SCRIPT
    costs[size + 1, size + 1] = FOREIGN_LETTER
    costs[size:, 0] = 1.5
    return costs


def _characters(encoding: str) -> list[str]:
    """The character of each byte; a control character if it has none."""
    return [bytes([code]).decode(encoding, "ignore") or "\x81" for code in range(256)]


@cache
def _classes(language: str, encoding: str) -> NDArray[np.uint8]:
    """The class of each byte's letter in a language, as `_following` has them."""
    alphabet = _table()[language][0]
    script = _script(alphabet[0])
    places = {letter: place for place, letter in enumerate(alphabet, 1)}
    classes = np.zeros(256, np.uint8)
    for code, character in enumerate(_characters(encoding)):
        lower = _lower(character)
        if character.isalpha() and character not in "ªº":
            own = _script(character) == script
            classes[code] = places.get(lower, len(alphabet) + (1 if own else 2))
        elif _is_vowel_sign(character):  # of Hebrew and Arabic
            classes[code] = len(alphabet) + (1 if language in {"he", "ar", "fa"} else 2)
    return classes


def _lower(character: str) -> str:
    lower = character.lower()
    return lower if len(lower) == 1 else "i"  # of the Turkish capital with a dot


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


# Shapes of characters: what may stand beside what, whatever the language.
(
    SPACE, DIGIT, MARK, LOWER, UPPER, LETTER, OPEN, CLOSE, DASH, QUOTE, SIGN, RARE, BLANK, BOX,
    ODD, BAD,
) = SHAPES = range(16)  # fmt: skip
NAMED = {
    " \t\r\n": SPACE, "«“„¿¡": OPEN, "»”": CLOSE, "–—": DASH, "’…": QUOTE, "№§°€£": SIGN,
    "‚‹›‘©®™•·½¼¾²³±×µ†‰¶ªº´¨¸": RARE, "\xa0": BLANK,
}  # fmt: skip
LETTERS = (LOWER, UPPER, LETTER)


def _shape(character: str) -> int:
    """The shape of one character."""
    for characters, shape in NAMED.items():
        if character in characters:
            return shape
    for test, shape in (
        (str.islower, LOWER), (str.isupper, UPPER), (str.isalpha, LETTER), (_is_box, BOX),
        (_is_vowel_sign, LETTER), (str.isdigit, DIGIT), (_is_ascii_mark, MARK),
        (str.isprintable, ODD),
    ):  # fmt: skip
        if test(character):
            return shape
    return BAD


def _is_box(character: str) -> bool:
    return "\u2500" <= character <= "\u259f"


def _is_vowel_sign(character: str) -> bool:
    return unicodedata.category(character) == "Mn"


def _is_ascii_mark(character: str) -> bool:
    return character < "\x7f"


@cache
def _shapes(encoding: str) -> NDArray[np.uint8]:
    return np.array([_shape(character) for character in _characters(encoding)], np.uint8)


def _beside() -> NDArray[np.float32]:
    """What a shape costs after another, apart from the case of letters."""
    costs = np.zeros((len(SHAPES), len(SHAPES)), np.float32)
    for shape, cost in (
        (OPEN, 4.5), (CLOSE, 4.5), (DASH, 4.5), (QUOTE, 5.0), (BLANK, 5.0), (SIGN, 6.0),
        (RARE, 9.0), (BOX, 5.5), (ODD, 13.0), (BAD, 16.0),
    ):  # fmt: skip
        costs[:, shape] = cost
    for letter in LETTERS:
        for before, more in (
            (CLOSE, 4.0), (DASH, 4.0), (SIGN, 4.0), (RARE, 4.0), (BOX, 3.5), (ODD, 2.0),
            (DIGIT, 1.0),
        ):  # fmt: skip
            costs[before, letter] += more
        for after, more in (
            (OPEN, 5.0), (DASH, 1.5), (SIGN, 3.0), (RARE, 2.0), (BOX, 3.5), (ODD, 2.0),
            (DIGIT, 1.0),
        ):  # fmt: skip
            costs[letter, after] += more
    costs[OPEN, SPACE] += 5.0
    costs[SPACE, CLOSE] += 4.0
    costs[SPACE, QUOTE] += 3.0
    costs[DASH, MARK] += 3.0
    costs[MARK, DASH] += 1.0
    return costs


def _cased(first: float, capital: float, after: float) -> NDArray[np.float32]:
    """What the case of a letter costs: at first, a capital at first, and a capital after one."""
    costs = np.zeros((len(SHAPES), len(SHAPES)), np.float32)
    costs[:, LOWER], costs[:, UPPER] = first, capital
    costs[LOWER, LOWER], costs[LOWER, UPPER] = 0.0, 7.0
    costs[UPPER, UPPER], costs[UPPER, LOWER] = after, 0.3 + first
    return costs


_SHAPES = _beside()
_CASES = (_cased(0.2, 1.5, 2.0), _cased(2.0, 0.0, 0.0))  # of common text, and of capitals
UNPAIRED = 3.0  # nats against an odd number of quotation marks
CAPITALS = 2.5  # nats against a text of capitals
LINE = 4.8  # how much less the same box-drawing character costs again: frames are lines


def _wide_cost(sample: bytes, encoding: str) -> float:
    """The cost of a text of Chinese, Japanese or Korean; infinite if it is none at all."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample.rstrip(b" "))
    except UnicodeDecodeError:
        return math.inf
    characters = Counter(_WIDE.findall(text))
    return MIXED * len(_SEAM.findall(text)) + sum(
        _wide_character(character, encoding) * count for character, count in characters.items()
    )


def _wide_character(character: str, encoding: str) -> float:
    """The cost of one character: of those in daily use, and of others."""
    if "\u3040" <= character <= "\u30ff":  # Chinese and Korean sets have kana, for quotations
        return 4.5 if encoding in ENCODINGS["ja"] else 10.0
    if "\u3000" <= character <= "\u303f" or "\uff01" <= character <= "\uff5e":
        return 5.0
    if "\uac00" <= character <= "\ud7a3":
        return 7.3
    if "\u4e00" <= character <= "\u9fff":
        lead = character.encode(encoding, "replace")[0]
        return 8.0 if _common(lead, encoding) else 12.0
    return 13.0


def _common(lead: int, encoding: str) -> bool:
    """True for a byte that begins a character of the first level, the most frequent ones."""
    first, last = {
        "gb18030": (0xB0, 0xD7), "big5": (0xA4, 0xC6), "shift_jis": (0x88, 0x98),
        "euc_jp": (0xB0, 0xCF),
    }.get(encoding, (0, 0))  # fmt: skip
    return first <= lead <= last
