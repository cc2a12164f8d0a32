"""Write how often letters follow each other, from which encodings are told.

    uv run --with langdetect python -m scripts.letters

The counts are those of langdetect (Apache License 2.0), which took them from Wikipedia. What is
written are costs: of each letter after each other one, in steps of a fifth of a nat.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import langdetect

FOUND = Path("src/atelier/files/inspectors/letters.json")
LATIN = "abcdefghijklmnopqrstuvwxyz"
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
ALPHABETS = {
    "ru": CYRILLIC + "ё",
    "uk": "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя",
    "bg": "абвгдежзийклмнопрстуфхцчшщъьюя",
    "mk": "абвгдѓежзѕијклљмнњопрстќуфхцчџш",
    "en": LATIN,
    "de": LATIN + "äöüß",
    "fr": LATIN + "àâæçéèêëîïôœùûüÿ",
    "es": LATIN + "áéíñóúü",
    "it": LATIN + "àèéìòù",
    "pt": LATIN + "áâãàçéêíóôõú",
    "nl": LATIN + "éëïöü",
    "da": LATIN + "æøåé",
    "no": LATIN + "æøåé",
    "sv": LATIN + "åäöé",
    "fi": LATIN + "åäö",
    "et": LATIN + "äõöüšž",
    "pl": LATIN + "ąćęłńóśźż",
    "cs": LATIN + "áčďéěíňóřšťúůýž",
    "sk": LATIN + "áäčďéíĺľňóôŕšťúýž",
    "hu": LATIN + "áéíóöőúüű",
    "ro": LATIN + "ăâîşţșț",
    "hr": LATIN + "čćđšž",
    "sl": LATIN + "čšž",
    "lt": LATIN + "ąčęėįšųūž",
    "lv": LATIN + "āčēģīķļņšūž",
    "tr": LATIN + "çğıöşüâîû",
    "el": "αβγδεζηθικλμνξοπρστυφχψωςάέήίόύώϊϋΐΰ",
    "he": "אבגדהוזחטיכלמנסעפצקרשתךםןףץ",
    "ar": "ابتثجحخدذرزسشصضطظعغفقكلمنهويةىءأإآؤئ",
    "fa": "ابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهیءئآأؤ",
}
BOUNDARY = " "
STEP, MOST = 0.2, 9.4  # nats; above the most there is no character for it
FIRST = ord("0")


def lower(text: str) -> str:
    """Small letters, one for each capital; Turkish has two of i."""
    return "".join(c.lower() if len(c.lower()) == 1 else "i" for c in text)


def costs(language: str, alphabet: str) -> str:
    """The cost of each letter after each, the boundary first, as a square of characters."""
    profile = Path(langdetect.__file__).parent / "profiles" / language
    pairs: Counter[str] = Counter()
    for gram, count in json.loads(profile.read_text("utf-8"))["freq"].items():
        if len(gram) == 2:
            pairs[lower(gram)] += count
    symbols = BOUNDARY + alphabet
    single = {b: sum(pairs[a + b] for a in symbols) + 1 for b in symbols}
    whole = sum(single.values())
    rows = []
    for a in symbols:
        seen = sum(pairs[a + b] for b in symbols)
        # What is rare was left out of the profiles: each pair has a little of its letter's share.
        shares = [
            (pairs[a + b] + 0.002 * seen * single[b] / whole + 1) / (1.002 * seen + len(symbols))
            for b in symbols
        ]
        rows += [min(-math.log(share), MOST) for share in shares]
    return "".join(chr(FIRST + round(cost / STEP)) for cost in rows)


def main() -> None:
    """Write the file."""
    table = {
        language: [alphabet, costs(language, alphabet)] for language, alphabet in ALPHABETS.items()
    }
    FOUND.write_text(json.dumps(table, ensure_ascii=False, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    main()
