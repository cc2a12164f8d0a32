"""Totals: exact where they say so, mergeable, of constant size."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.classify.outcomes import Failure, Result
from atelier.classify.stats import CLASSES_MOST, OTHER_CLASSES, Measure, Measured, Stored, Totals

VALUES = st.lists(st.integers(0, 10**12), max_size=60)


@given(VALUES, VALUES)
def test_merging_equals_adding(left: list[int], right: list[int]) -> None:
    """Two measures merged are one that saw all values: exactly, quantiles included."""
    one, two, both = Measure(), Measure(), Measure()
    for value in left:
        one.add(value)
        both.add(value)
    for value in right:
        two.add(value)
        both.add(value)
    one.merge(two)
    assert one.summary(1) == both.summary(1)
    assert (one.count, one.total) == (len(left + right), sum(left + right))


@given(VALUES)
def test_storing_loses_nothing(values: list[int]) -> None:
    """A measure that was stored and read goes on as if it had not been."""
    measure, plain = Measure(), Measure()
    for value in values:
        measure.add(value)
        measure = Measure(
            msgspec.json.decode(msgspec.json.encode(measure.stored()), type=Measured)
        )
        plain.add(value)
    assert measure.summary(1) == plain.summary(1)


def test_quantiles_are_within_their_accuracy() -> None:
    """p50 and p99 are within 1 % of the true ones."""
    chance = random.Random(1)
    values = sorted(int(chance.lognormvariate(10, 1)) for _ in range(20_000))
    measure = Measure()
    for value in values:
        measure.add(value)
    assert measure.quantile(0.5) == pytest.approx(values[10_000], rel=0.011)
    assert measure.quantile(0.99) == pytest.approx(values[19_800], rel=0.011)


def test_nothing_has_no_average() -> None:
    """No pictures, no division by zero."""
    assert Measure().summary(1) == dict.fromkeys(("min", "avg", "max", "p50", "p99"))


def test_endless_classes_do_not_fill_the_memory() -> None:
    """Beyond so many classes the rest is counted together."""
    totals = Totals()
    for number in range(CLASSES_MOST + 50):
        totals.result(Result(number, "a.jpg", str(number), 0.5, (1.0,), 1.0, 10))
    assert len(totals.classes) == CLASSES_MOST + 1
    assert totals.classes[OTHER_CLASSES] == 50


def test_totals_of_shards_add_up() -> None:
    """Merged totals count classes and failures of all; storing them keeps them."""
    shards = []
    for shard in range(3):
        totals = Totals()
        totals.result(Result(1, "a.jpg", "cat" if shard else "dog", 0.5, (1.0,), 2.5, 10))
        totals.failure(Failure(2, "b.jpg", "damaged"))
        shards.append(
            Totals(msgspec.json.decode(msgspec.json.encode(totals.stored()), type=Stored))
        )
    merged = Totals().merge(shards)
    assert (merged.classified, merged.failed) == (3, 3)
    assert merged.classes == {"dog": 1, "cat": 2}
    assert merged.elapsed_us.total == 7500


def test_a_retried_picture_is_counted_once() -> None:
    """Its earlier failure is taken back, whether it now succeeds or fails otherwise."""
    totals = Totals()
    for number in range(2):
        totals.failure(Failure(number, "a.jpg", "remote_5xx"))
    totals.result(Result(0, "a.jpg", "cat", 0.5, (1.0,), 1.0, 10, retried="remote_5xx"))
    totals.failure(Failure(1, "b.jpg", "damaged", retried="remote_5xx"))
    assert (totals.classified, totals.failures) == (1, {"damaged": 1})
