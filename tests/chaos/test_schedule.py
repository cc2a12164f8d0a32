"""The plan of a campaign."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.chaos.schedule import CUT, KILL, opening, plan
from tests.chaos.victims import KINDS

MANY = 300


@pytest.mark.parametrize("broker", [False, True])
def test_a_seed_makes_the_same_plan_again(broker: bool) -> None:
    """Blow by blow, with every pause and choice; another seed makes another."""
    again = [list(islice(plan(7, broker=broker), MANY)) for _ in range(2)]
    assert again[0] == again[1]
    assert again[0] != list(islice(plan(8, broker=broker), MANY))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_campaign_begins_with_every_victim(seed: int) -> None:
    """However few its blows: each kind of process is killed, alone, within the opening."""
    first = list(islice(plan(seed, broker=False), len(opening(broker=False))))
    alone = [blow.victim for blow in first if blow.action == KILL and blow.then is None]
    assert sorted(alone) == sorted(KINDS)


def test_without_a_broker_none_is_cut_off() -> None:
    """Cuts come up only where there is a proxy to cut."""
    assert CUT not in {blow.action for blow in islice(plan(1, broker=False), MANY)}
    assert CUT in {blow.action for blow in islice(plan(1, broker=True), MANY)}
