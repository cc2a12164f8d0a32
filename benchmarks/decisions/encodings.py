"""Which encodings of texts are told right, by us and by libraries; prints Markdown.

    python -m benchmarks.decisions.encodings [--peers OTHER_VENV/bin/python]

Each text of `tests/files/corpus.py` is one file. Right is a name that reads it as it was written;
wrong any other name; the rest is unsure. Greek, Turkish and Hebrew are in `text_languages`, the
others are not, but for Russian and English. `--peers` names a Python that has chardet and
charset-normalizer.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

PEERS = ("charset-normalizer", "chardet")
# What was asked of charset-normalizer before: 8-bit encodings in practice.
ISOLATED = (
    "cp1252", "cp1251", "koi8_r", "cp866", "iso8859_2", "cp1250", "iso8859_15", "cp1253", "cp1254",
    "cp1255", "cp1256", "mac_roman", "mac_cyrillic", "cp437", "shift_jis", "euc_jp", "gb18030",
    "big5", "euc_kr",
)  # fmt: skip
Guesses = tuple[list[str | None], float]


def peer(name: str, data: list[bytes]) -> Guesses:
    """What a library says of each text, and the milliseconds for all."""
    began = time.perf_counter()
    if name == "chardet":
        import chardet

        found = [chardet.detect(each)["encoding"] for each in data]
    else:
        from charset_normalizer import from_bytes

        best = [from_bytes(each, cp_isolation=list(ISOLATED)).best() for each in data]
        found = [one.encoding if one else "cp1252" for one in best]
    return found, (time.perf_counter() - began) * 1000


def ours(data: list[bytes], languages: list[tuple[str, ...]]) -> Guesses:
    """What we say, None where unsure."""
    from atelier.files.inspectors import encodings

    encodings.guess("да".encode("cp1251"), ("ru",))  # reads its table
    began = time.perf_counter()
    guesses = [encodings.guess(*each) for each in zip(data, languages, strict=True)]
    took = (time.perf_counter() - began) * 1000
    return [guess.encoding if guess.sure else None for guess in guesses], took


def verdict(data: bytes, text: str, encoding: str | None) -> str:
    """Right, unsure or wrong."""
    if encoding is None:
        return "unsure"
    try:
        return "right" if data.decode(encoding) == text else "wrong"
    except (UnicodeDecodeError, LookupError):
        return "wrong"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--peer", choices=PEERS)
    chosen = parser.parse_args()
    if chosen.peer:
        data = [base64.b64decode(line) for line in sys.stdin]
        json.dump(peer(chosen.peer, data), sys.stdout)
        return
    from tests.files.corpus import samples

    every = list(samples())
    data = [sample.data for sample in every]
    guesses = {"ours": ours(data, [sample.languages for sample in every])}
    lines = b"\n".join(map(base64.b64encode, data))
    for name in PEERS if chosen.peers else ():
        command = [chosen.peers, __file__, "--peer", name]
        done = subprocess.run(command, input=lines, stdout=subprocess.PIPE, check=True)
        guesses[name] = tuple(json.loads(done.stdout))
    table: dict[tuple[str, str], dict[str, Counter[str]]] = defaultdict(dict)
    for name, (found, _) in guesses.items():
        for sample, encoding in zip(every, found, strict=True):
            row = sample.language, sample.encoding + (", capitals" if sample.capitals else "")
            counter = table[row].setdefault(name, Counter())
            counter[verdict(sample.data, sample.text, encoding)] += 1
    print("|", " | ".join(["", "texts", *guesses]), "|")
    print("|---" * (2 + len(guesses)) + "|")
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for (language, what), row in table.items():
        shown = [f"{c['right']} / {c['unsure']} / {c['wrong']}" for c in row.values()]
        print("|", " | ".join([f"{language} {what}", str(row["ours"].total()), *shown]), "|")
        for name, counter in row.items():
            totals[name] += counter
    shown = [f"{c['right']} / {c['unsure']} / {c['wrong']}" for c in totals.values()]
    print("|", " | ".join(["all", str(len(every)), *shown]), "|")
    times = [f"{took / len(every):.2f} ms" for _, took in guesses.values()]
    print("|", " | ".join(["each", "", *times]), "|")


if __name__ == "__main__":
    main()
