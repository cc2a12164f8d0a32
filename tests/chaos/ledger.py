"""What the clients of a campaign know: what was acknowledged to them, and how they were answered.

Knows neither HTTP nor the instance.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Thing:
    """A picture, file, task or book as its client was last told."""

    collection: str
    id: int
    name: str  # of one upload and no other
    sha256: str = ""
    words: str = ""  # those of the last acknowledged change
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Handout:
    """A task that was given to a taker; `number` is that of the event which says so."""

    task: int
    number: int


@dataclass
class Ledger:
    """All that is known, of all clients."""

    things: dict[tuple[str, int], Thing] = field(default_factory=dict)
    handouts: Counter[Handout] = field(default_factory=Counter)
    ended: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    """Leases given back: task, number of the hand-out, `completed` or `released`."""
    holders: dict[int, str] = field(default_factory=dict)
    """Task -> who has it under a lease that is far from its end."""
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each operation was answered with each status, or with what instead."""
    changes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    """What no client should see."""
    acknowledged: int = 0

    def fault(self, sentence: str) -> None:
        """Write a fault down."""
        self.faults.append(sentence)

    def made(self, thing: Thing) -> None:
        """A client was told that its upload is kept."""
        self.acknowledged += 1
        key = thing.collection, thing.id
        if key in self.things:
            self.fault(
                f"{thing.collection}/{thing.id} was given for {thing.name} and for "
                f"{self.things[key].name}"
            )
        self.things[key] = thing

    def changed(self, thing: Thing, words: str) -> None:
        """A client was told that its change is kept."""
        self.acknowledged += 1
        self.changes[thing.collection] += 1
        thing.words = words

    def deleted(self, thing: Thing) -> None:
        """A client was told that its thing is gone."""
        self.acknowledged += 1
        thing.gone = True

    def handed(self, handout: Handout, taker: str, *, held: bool) -> None:
        """A taker was given a task; `held`: nobody else may have it until it is given back."""
        self.acknowledged += 1
        self.handouts[handout] += 1
        if holder := self.holders.get(handout.task):
            self.fault(f"tasks/{handout.task} has two takers at once: {holder} and {taker}")
        if held:
            self.holders[handout.task] = taker

    def giving_back(self, handout: Handout) -> None:
        """A taker is about to say that it is done: from now on another may have the task."""
        del self.holders[handout.task]

    def gave_back(self, handout: Handout, how: str) -> None:
        """A taker was told that the end of its lease is kept."""
        self.acknowledged += 1
        self.ended[handout.task, handout.number, how] += 1
