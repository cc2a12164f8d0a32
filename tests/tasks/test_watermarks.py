"""How far hand-outs have looked, remembered for a moment."""

from __future__ import annotations

import pytest

from atelier.tasks import watermarks
from atelier.tasks.watermarks import Watermarks


@pytest.fixture
def known() -> Watermarks:
    """Of owner 1 nothing is free up to task 10."""
    made = Watermarks()
    made.taken(1, 10, 0)
    return made


def test_it_starts_at_the_beginning(known: Watermarks) -> None:
    """For a user that it does not know."""
    assert (known.get(1), known.get(2)) == (10, 0)


def test_it_rises_with_what_is_found_above(known: Watermarks) -> None:
    """And does not sink when answers come in another order."""
    known.taken(1, 12, 10)
    known.taken(1, 11, 10)
    assert known.get(1) == 12


def test_a_look_from_the_beginning_resets_it(known: Watermarks) -> None:
    """Also below where it was: something had been given back."""
    known.taken(1, 3, 0)
    assert known.get(1) == 3


def test_what_was_forgotten_stays_so(known: Watermarks) -> None:
    """A take that was under way above the old floor does not bring it back."""
    known.forget(1)
    known.taken(1, 12, 10)
    known.forget(2)
    assert known.get(1) == 0


def test_it_lasts_for_a_moment(known: Watermarks, monkeypatch: pytest.MonkeyPatch) -> None:
    """And finding more above it makes it last no longer."""
    monkeypatch.setattr(watermarks, "LIFE_SECONDS", -1)
    known.taken(1, 5, 0)
    known.taken(1, 6, 5)
    assert known.get(1) == 0


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many owners there are."""
    monkeypatch.setattr(watermarks, "POOLS", 3)
    made = Watermarks()
    for owner_id in range(1, 6):
        made.taken(owner_id, 7, 0)
    assert [made.get(owner_id) for owner_id in range(1, 6)] == [0, 0, 0, 7, 7]
