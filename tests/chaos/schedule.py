"""What happens to an instance, and when: a plan that the same seed makes again.

It names kinds of processes, never a process.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.chaos.victims import BACKEND, GUARD, KINDS, SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Iterator

KILL, STOP, FLUSH, CUT = "kill", "stop", "flush", "cut"
PAUSE_SECONDS = 0.3, 3.0  # before a blow
SECOND_SECONDS = 0.0, 2.0  # from the first fault of a pair to the second
STOP_SECONDS = 1.0, 8.0  # a process stands still; beyond the time limits of a request's parts
CUT_SECONDS = 0.0, 4.0  # the broker is away
CALM_SHARE = 0.7  # of the blows wait until the instance works again
SHARES = {KILL: 0.72, STOP: 0.16, FLUSH: 0.06, CUT: 0.06}
PAIR_SHARE = 0.2  # of the kills have a second one
# Pairs that once had consequences: an engine in recovery whose supervisor dies, a supervisor
# without its guard, an engine that dies under a start.
PAIRS = ((BACKEND, SUPERVISOR), (GUARD, SUPERVISOR), (SUPERVISOR, "postgres"))


@dataclass(frozen=True, slots=True)
class Blow:
    """One fault, `pause` seconds after what was before it.

    `which` picks one of several processes of the kind `victim`: a share of their number.
    `seconds` is how long a process stands still or the broker is away. A `calm` blow waits until
    the instance has recovered from the last one. `then` is the second fault of a pair.
    """

    action: str
    victim: str = ""
    pause: float = 0.0
    which: float = 0.0
    seconds: float = 0.0
    calm: bool = True
    then: Blow | None = None

    def __str__(self) -> str:
        named = f"{self.action} {self.victim}".strip()
        return f"{named}, then {self.then}" if self.then else named


def opening(*, broker: bool) -> list[tuple[str, ...]]:
    """What every campaign begins with, in any order: each kind of fault, each victim, each pair.

    The action and its victim or, of a kill, two.
    """
    first: list[tuple[str, ...]] = [(KILL, kind) for kind in KINDS]
    first += [(KILL, *pair) for pair in PAIRS]
    first += [(STOP, "api"), (STOP, "postgres"), (FLUSH,)]
    return [*first, (CUT,)] if broker else first


def plan(seed: int, *, broker: bool) -> Iterator[Blow]:
    """Blows without end: the opening, then whatever comes up."""
    dice = random.Random(seed)
    first = opening(broker=broker)
    dice.shuffle(first)
    for action, *kinds in first:
        yield _blow(dice, action, kinds)
    while True:
        yield _blow(dice, *_anything(dice, broker=broker))


def _anything(dice: random.Random, *, broker: bool) -> tuple[str, list[str]]:
    shares = SHARES if broker else SHARES | {CUT: 0.0}
    (action,) = dice.choices(list(shares), list(shares.values()))
    if action in (FLUSH, CUT):
        return action, []
    paired = action == KILL and dice.random() < PAIR_SHARE
    return action, [dice.choice(KINDS) for _ in range(1 + paired)]


def _blow(dice: random.Random, action: str, kinds: list[str]) -> Blow:
    first, *rest = kinds or [""]
    length = CUT_SECONDS if action == CUT else STOP_SECONDS
    made = Blow(
        action,
        first,
        pause=dice.uniform(*PAUSE_SECONDS),
        which=dice.random(),
        seconds=dice.uniform(*length),
        calm=dice.random() < CALM_SHARE,
    )
    for kind in rest:
        second = Blow(KILL, kind, pause=dice.uniform(*SECOND_SECONDS), which=dice.random())
        made = replace(made, then=second)
    return made
