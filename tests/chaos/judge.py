"""Compares what clients were told with what is there; each fault is one sentence.

Knows no running instance: everything it looks at is a plain value.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.chaos.ledger import Handout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from atelier.events.messages import Event
    from tests.chaos.evidence import Entry, Evidence
    from tests.chaos.ledger import Ledger

SHOWN = 10  # of one kind of fault; the rest are counted
FREE, TAKEN, DONE = "free", "taken", "done"
MOVES = {  # what may happen to a task: its state before, and after
    "task.created": (None, FREE),
    "task.taken": (FREE, TAKEN),
    "task.released": (TAKEN, FREE),
    "task.completed": (TAKEN, DONE),
}


def faults(
    ledger: Ledger, found: Evidence, seen: Sequence[Event], watched: Sequence[str]
) -> list[str]:
    """Every fault: `seen` by a subscriber, each event once; `watched`: ids of changes of books."""
    judges: tuple[Callable[[], Iterable[str]], ...] = (
        lambda: ledger.faults,
        lambda: _kept(ledger, found),
        lambda: _unasked(ledger, found),
        lambda: _final(found),
        lambda: _shown(found),
        lambda: _contents(ledger, found),
        lambda: _positions(found.log, found.position),
        lambda: _sequences(found.log),
        lambda: _announced(found),
        lambda: _delivered(found.log, seen),
        lambda: _followed(found.log, watched),
        lambda: _handed_out(ledger, found.log),
        lambda: _left_over(found),
    )
    return [sentence for each in judges for sentence in _some(list(each()))]


def _some(sentences: list[str]) -> list[str]:
    more = len(sentences) - SHOWN
    return [*sentences[:SHOWN], f"... and {more} more like it"] if more > 0 else sentences


def _kept(ledger: Ledger, found: Evidence) -> Iterator[str]:
    """What was acknowledged is there, with the words that were acknowledged last."""
    for (table, number), thing in ledger.things.items():
        row = found.rows[table].get(number)
        if thing.gone and row:
            yield f"{table}/{number} is there, though its deletion was acknowledged"
        elif not thing.gone and row is None:
            yield f"{table}/{number} is lost, though it was acknowledged ({thing.name})"
        elif row and (row["words"], row["sha256"]) != (thing.words, thing.sha256):
            yield f"{table}/{number} is not as it was acknowledged last: {row} for {thing}"
    made = sum(table == "tasks" for table, _ in ledger.things)
    if found.tasks_created != made:
        yield f"total_created says {found.tasks_created} tasks where {made} were acknowledged"


def _unasked(ledger: Ledger, found: Evidence) -> Iterator[str]:
    """Nothing was made twice: each row is one that a client was told of."""
    for table, rows in found.rows.items():
        for number, row in rows.items():
            if (table, number) not in ledger.things:
                yield f"{table}/{number} was made, but never acknowledged ({row['name']})"


def _final(found: Evidence) -> Iterator[str]:
    """All work has come to its end, and what failed says why."""
    for table in ("images", "files"):
        for number, row in found.rows[table].items():
            if row["status"] == "queued":
                yield f"{table}/{number} is stuck: still queued"
            if row["status"] == "failed" and not row["error"]:
                yield f"{table}/{number} has failed without a reason"


def _shown(found: Evidence) -> Iterator[str]:
    """The API lists what the database holds."""
    for table, rows in found.rows.items():
        shown = found.shown[table]
        for number in rows.keys() ^ shown.keys():
            where = "the database, not the API" if number in rows else "the API, not the database"
            yield f"{table}/{number} is in {where}"
        for number in rows.keys() & shown.keys():
            differing = {
                name: (row, shown[number][field])
                for name, field in (("status", "status"), ("words", "description"))
                if (row := rows[number].get(name)) != shown[number].get(field, row)
            }
            if differing:
                yield f"{table}/{number}: the database and the API differ: {differing}"


def _contents(ledger: Ledger, found: Evidence) -> Iterator[str]:
    """The API serves the bytes that were uploaded."""
    for key, digest in found.contents.items():
        if key in ledger.things and ledger.things[key].sha256 != digest:
            yield f"{key[0]}/{key[1]} is served with other bytes than were sent: {digest}"


def _positions(log: Sequence[Entry], last: int) -> Iterator[str]:
    """Every event was sent, and the positions are 1 to the last without a gap."""
    unsent = [entry for entry in log if entry.position is None]
    yield from (f"{entry.type} of {entry.subject} was never sent" for entry in unsent)
    positions = sorted(entry.position for entry in log if entry.position is not None)
    for before, after in pairwise([0, *positions]):
        if after != before + 1:
            yield f"the log has a gap in its positions: {after} follows {before}"
    if positions and positions[-1] != last:
        yield f"the last position is {positions[-1]}, the relay's {last}"


def _sequences(log: Sequence[Entry]) -> Iterator[str]:
    """The events of each subject are numbered 1 to n, in the order of the log."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for entry in sorted(log, key=lambda entry: entry.position or len(log) + 1):
        numbers[entry.subject].append(entry.sequence)
    for subject, found in numbers.items():
        if found != list(range(1, len(found) + 1)):
            yield f"the sequence of {subject} is not 1 to {len(found)}: {found}"


def _announced(found: Evidence) -> Iterator[str]:
    """Each thing's events say what became of it: made first, and deleted if it is gone."""
    happened: dict[str, list[str]] = defaultdict(list)
    for entry in sorted(found.log, key=lambda entry: entry.sequence):
        happened[entry.subject].append(entry.type.partition(".")[2])
    rows = {
        f"{table}/{number}": row
        for table in found.rows
        for number, row in found.rows[table].items()
    }
    for subject in happened.keys() | rows.keys():
        if subject.partition("/")[0] not in found.rows:
            continue
        types, row = happened[subject], rows.get(subject)
        if types[:1] not in (["created"], ["uploaded"]):
            yield f"{subject}: its first event is not that it was made: {types}"
        if ("deleted" in types) == (row is not None):
            yield f"{subject} {'is there' if row else 'is gone'}, but its events are {types}"
        if row and row["sequence"] != len(types):
            yield f"{subject} is at {row['sequence']}, but its events are {types}"


def _delivered(log: Sequence[Entry], seen: Sequence[Event]) -> Iterator[str]:
    """A subscriber saw every event and nothing else, each subject's in order."""
    written = {entry.id: entry for entry in log}
    came = {event.id for event in seen}
    for entry in log:
        if entry.id not in came:
            yield f"{entry.type} of {entry.subject} #{entry.sequence} never reached the subscriber"
    reached: Counter[str] = Counter()
    for event in seen:
        name = f"{event.type} of {event.subject} #{event.sequence}"
        if event.id not in written:
            yield f"{name} reached the subscriber, but never happened"
        elif event.sequence != reached[event.subject] + 1:
            yield f"{name} reached the subscriber after #{reached[event.subject]}"
        reached[event.subject] = max(reached[event.subject], event.sequence)


def _followed(log: Sequence[Entry], watched: Sequence[str]) -> Iterator[str]:
    """WatchBooks gave every change of a book, once, in the order of the log."""
    expected = [
        entry.id
        for entry in sorted(log, key=lambda entry: entry.position or 0)
        if entry.subject.startswith("books/")
    ]
    if list(watched) == expected:
        return
    missing, twice = set(expected) - set(watched), len(watched) - len(set(watched))
    unknown = set(watched) - set(expected)
    yield (
        f"WatchBooks gave {len(watched)} changes of {len(expected)}: {len(missing)} missing, "
        f"{twice} twice, {len(unknown)} that did not happen"
    )


def _handed_out(ledger: Ledger, log: Sequence[Entry]) -> Iterator[str]:
    """No task had two takers at once, and each hand-out reached the one who asked for it."""
    state: dict[str, str | None] = {}
    for entry in sorted(log, key=lambda entry: entry.sequence):
        if entry.type not in MOVES:
            continue
        before, after = MOVES[entry.type]
        if (was := state.get(entry.subject)) != before:
            yield f"{entry.type} of {entry.subject} #{entry.sequence} while it was {was}"
        state[entry.subject] = after
    taken = Counter(
        Handout(_number(entry.subject), entry.sequence)
        for entry in log
        if entry.type == "task.taken"
    )
    yield from _compared("hand-out", taken, ledger.handouts)
    ended = Counter(
        (_number(entry.subject), entry.sequence - 1, entry.type.partition(".")[2])
        for entry in log
        if entry.type in ("task.released", "task.completed") and entry.reason != "expired"
    )
    yield from _compared("end of a lease", ended, ledger.ended)


def _compared(name: str, written: Counter, acknowledged: Counter) -> Iterator[str]:
    for what, count in (written - acknowledged).items():
        yield f"{name} {what} was written {count} times more than it was acknowledged"
    for what, count in (acknowledged - written).items():
        yield f"{name} {what} was acknowledged {count} times more than it was written"


def _left_over(found: Evidence) -> Iterator[str]:
    """Blobs and rows agree, queues are empty, and nothing is left of what was killed."""
    yield from (f"blob {key} is missing" for key in found.referenced - found.blobs)
    yield from (f"blob {key} belongs to nothing" for key in found.blobs - found.referenced)
    yield from (f"file {name} is left over" for name in found.strays)
    yield from (f"{count} left in Redis: {name}" for name, count in found.queues.items())
    if found.check:
        yield f"atelier check --deep: {found.check}"
    for pid, words in found.orphans.items():
        yield f"process {pid} belongs to no supervisor: {' '.join(words)[:120]}"


def _number(subject: str) -> int:
    return int(subject.partition("/")[2])
