"""Finding the knee, on trials that hold up to a known rate."""

from __future__ import annotations

import pytest

from benchmarks.capacity.budget import Budget, seconds
from benchmarks.capacity.results import Quantiles, Trial
from benchmarks.capacity.search import CLOSE, Exhausted, Found, find


class Instance:
    """Carries `most` requests a second.

    `hiccups` are the trials (from 0) that break whatever their rate.
    """

    def __init__(self, most: float, *, hiccups: tuple[int, ...] = (), allowed: int = 60) -> None:
        self.most, self.hiccups, self.left = most, hiccups, allowed
        self.made = 0

    async def attempt(self, rate: float) -> Trial:
        """One trial."""
        if not self.left:
            raise Exhausted("used up")
        self.left -= 1
        broken = "too much" if rate > self.most or self.made in self.hiccups else ""
        self.made += 1
        return Trial(rate, 1, round(rate), rate, Quantiles(1, 1, 1), 0, {}, 0, broken=broken)


@pytest.mark.parametrize("most", [0.5, 7, 93, 2500, 1e6])
@pytest.mark.parametrize("first", [0.2, 30, 3000])
async def test_the_knee_is_found_wherever_the_search_begins(most: float, first: float) -> None:
    """The rate found holds, and is within a few percent of the one that the instance carries."""
    found = Found()
    await find(Instance(most).attempt, first, found)
    assert found.certain
    assert found.knee
    assert most / CLOSE <= found.knee.rate <= most
    assert found.above
    assert found.above.rate > most


async def test_one_break_in_the_ramp_is_not_believed() -> None:
    """A rate that breaks once because the machine had other things to do does not end the ramp."""
    found = Found()
    await find(Instance(1000, hiccups=(3,)).attempt, 10, found)
    assert found.knee
    assert found.knee.rate >= 1000 / CLOSE


async def test_nothing_holds() -> None:
    """An instance that carries nothing ends the search, without a knee."""
    found = Found()
    await find(Instance(0).attempt, 100, found)
    assert found.knee is None
    assert not found.certain
    assert len(found.trials) < 10


async def test_a_search_that_is_cut_off_says_so() -> None:
    """When nothing broke before the budget was used up, the knee is a lower bound and says why."""
    found = Found()
    await find(Instance(1e9, allowed=4).attempt, 10, found)
    assert found.knee
    assert not found.certain
    assert found.ended == "used up"


def test_trials_stay_within_time_and_requests() -> None:
    """A trial sends no more than the requests left, and none begins without time or requests."""
    budget = Budget(110.0, 3000)
    assert budget.trial(1000) * 1000 <= 3000
    assert budget.trial(1) <= 20
    budget.requests = 5
    with pytest.raises(Exhausted, match="--requests"):
        budget.trial(1000)
    late = Budget(0.0, 3000)
    assert late.trial(100) <= 1
    with pytest.raises(Exhausted, match="--for"):
        late.trial(100)


@pytest.mark.parametrize(
    ("text", "value"), [("60s", 60), ("250ms", 0.25), ("5m", 300), ("1.5h", 5400), ("90", 90)]
)
def test_durations(text: str, value: float) -> None:
    """Durations are written with a unit, or in seconds."""
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "0s", "-5s", "5 minutes", "nan", "1e3"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="duration"):
        seconds(text)
