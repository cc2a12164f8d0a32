"""The report of a campaign, as text."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from tests.chaos.attacker import kills
from tests.chaos.schedule import KILL, STOP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.campaign import Result

MINUTE = 60
TROUBLE = re.compile(r" (?:ERROR|CRITICAL) |^\w+(?:\.\w+)*(?:Error|Exception)\b")
NUMBER = re.compile(r"0x[0-9a-f]+|(?<![a-z])[0-9a-f]*\d[0-9a-f]*(?![a-z])")
TROUBLES = 20  # kinds of lines shown
WIDTH = 160


def text(result: Result) -> str:
    """Kills by victim, what was acknowledged, the answers, the longest outage, the faults."""
    return "\n".join(_lines(result))


def troubles(logs: Path) -> list[str]:
    """The lines of the logs that tell of an error, most frequent first; numbers do not count."""
    found: Counter[str] = Counter()
    for path in logs.glob("*.log"):
        with path.open(errors="replace") as lines:
            for line in lines:
                if match := TROUBLE.search(line):
                    found[f"{path.stem}: {NUMBER.sub('N', line[match.start() :].strip())}"] += 1
    return [f"{count:6} {line[:WIDTH]}" for line, count in found.most_common(TROUBLES)]


def _lines(result: Result) -> Iterator[str]:
    minutes, seconds = divmod(round(result.seconds), MINUTE)
    yield (
        f"seed {result.seed}: {len(result.blows)} blows, {kills(result.struck)} kills in "
        f"{minutes} min {seconds} s; longest until ready again {result.longest:.1f} s"
    )
    yield from _struck(result)
    yield from _acknowledged(result)
    yield "answers:"
    for operation in sorted({operation for operation, _ in result.ledger.answers}):
        counts = {s: n for (o, s), n in result.ledger.answers.items() if o == operation}
        yield f"  {operation:20} {_counted(counts)}"
    yield f"  {'WatchBooks':20} broke off: {_counted(result.codes) or 'never'}"
    yield f"{len(result.faults)} faults"
    yield from (f"  - {sentence}" for sentence in result.faults)
    if result.faults:
        yield f"repeat with: make chaos SEED={result.seed}"


def _struck(result: Result) -> Iterator[str]:
    yield f"{'victim':20} {'killed':>7} {'stopped':>8} {'not there':>10}"
    victims = sorted(
        {victim for action, victim in result.struck if action in (KILL, STOP)}
        | result.missed.keys()
    )
    for victim in victims:
        killed, stopped = result.struck[KILL, victim], result.struck[STOP, victim]
        yield f"{victim:20} {killed:7} {stopped:8} {result.missed[victim]:10}"
    for (action, victim), count in sorted(result.struck.items()):
        if action not in (KILL, STOP):
            yield f"{f'{victim}: {action}':20} {count:7}"


def _acknowledged(result: Result) -> Iterator[str]:
    ledger = result.ledger
    yield f"{ledger.acknowledged} things acknowledged:"
    for collection in sorted({thing.collection for thing in ledger.things.values()}):
        things = [thing for thing in ledger.things.values() if thing.collection == collection]
        gone = sum(thing.gone for thing in things)
        changed = ledger.changes[collection]
        yield f"  {collection:20} {len(things)} made, {changed} changes, {gone} deleted"
    taken, ended = ledger.handouts.total(), ledger.ended.total()
    yield f"  {'hand-outs of tasks':20} {taken}, of which {ended} were ended by their taker"
    yield f"  {'events':20} {result.seen} seen, {result.repeated} more than once"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} x {count}" for name, count in sorted(counts.items()))
