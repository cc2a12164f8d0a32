"""Captions for the tests: what people write, and edge cases."""

from __future__ import annotations

SEED = "С начала фазы запрещающего сигнала прошло: 7 секунд"
TEXTS = {
    "one": "x",
    "seed": SEED,
    "199": "слово " * 33 + "!",
    "200": "Щука " * 40,
    "201": ("wide WORDS " * 19)[:201],
    "long word": "w" * 200,
    "long cyrillic word": "щ" * 200,
    "combining": "e\u0301x\u0323\u0302" * 40,
    "stacked marks": "Z" + "\u0301" * 30 + " low" + "\u0323" * 20,
    "hebrew": "שלום עולם (abc) 123 " * 10,
    "arabic": "مرحبا بالعالم هذا نص " * 9,
    "arabic date": "صورة 2024-05-17 العدد ١٢٣ " * 4,
    "hebrew points": "שָׁלוֹם עוֹלָם 12 " * 6,
    "mixed": "one שתיים three أربعة " * 9,
    "emoji": "😀👨\u200d👩\u200d👧🇷🇺🇩🇪👍🏽 " * 12,
    "tabs": "a\tb\tc\t" * 30,
    "newlines": "a\n\nb\r\nc\rd\u2028e\u2029f",
    "chinese": "中文字符测试" * 33,
    "indic": "हिन्दी ไทย " * 15,
    "controls": "a\x00\x01\x1b[31mb\u202ec\u2066d\ufeff\x7f",
    "surrogate": "a\ud83db",
    "wide glyph": "\ufdfd\ufdfd W",
    "spaces": "a" + " " * 150 + "b",
    "italics that overhang": "ﬁ f\u0301 j \u0489 \U0001d4d5",
}
