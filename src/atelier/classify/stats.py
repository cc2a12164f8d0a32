"""The totals of a run: exact counts, sums, minima and maxima, and quantiles from a sketch.

Totals can be merged and are of constant size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
from ddsketch import LogarithmicMapping

from atelier.classify.outcomes import Failure, Result

RELATIVE_ACCURACY = 0.01
"""Of the quantiles; counts, sums, minima and maxima are exact."""

MAPPING = LogarithmicMapping(RELATIVE_ACCURACY)

CLASSES_MOST = 10_000
"""Classes counted one by one: a service that invents one per picture must not fill the memory."""

OTHER_CLASSES = "(other classes)"


class Measured(msgspec.Struct):
    """A stored measure: integers (microseconds, bytes), so that sums are exact in any order."""

    count: int = 0
    total: int = 0
    least: int = 0
    most: int = 0
    bins: list[tuple[int, int]] = []


class Stored(msgspec.Struct):
    """Stored totals."""

    elapsed_us: Measured
    size: Measured
    classes: dict[str, int]
    failures: dict[str, int]


class Measure:
    """Count, sum, minimum and maximum (exact) and quantiles (to 1 %) of non-negative integers."""

    def __init__(self, stored: Measured | None = None) -> None:
        stored = stored or Measured()
        self.count, self.total, self.least, self.most = (
            stored.count,
            stored.total,
            stored.least,
            stored.most,
        )
        self._bins = Counter(dict(stored.bins))  # counts by DDSketch's bucket key; 0 has no bucket

    def add(self, value: int) -> None:
        """Count one more value."""
        self.least = min(self.least, value) if self.count else value
        self.most = max(self.most, value)
        self.count += 1
        self.total += value
        if value:
            self._bins[MAPPING.key(value)] += 1

    def merge(self, other: Measure) -> None:
        """Add all the values of another measure."""
        if other.count:
            self.least = min(self.least, other.least) if self.count else other.least
            self.most = max(self.most, other.most)
            self.count += other.count
            self.total += other.total
            self._bins.update(other._bins)

    def quantile(self, share: float) -> float | None:
        """The value that this share of all values does not exceed; None if there are none."""
        if not self.count:
            return None
        rank = share * (self.count - 1)
        passed = self.count - self._bins.total()  # zeros have no bucket and come first
        reached = None
        for key, count in sorted(self._bins.items()):
            if passed > rank:
                break
            passed += count
            reached = key
        # A bucket stands for all its values; the exact extremes correct it at both ends.
        value = 0.0 if reached is None else MAPPING.value(reached)
        return min(max(value, self.least), self.most)

    def summary(self, unit: int) -> dict[str, float | None]:
        """Minimum, average, maximum, median and 99th percentile, in multiples of `unit`."""
        if not self.count:
            return dict.fromkeys(("min", "avg", "max", "p50", "p99"))
        quantiles = {"p50": self.quantile(0.5), "p99": self.quantile(0.99)}
        exact = {
            "min": self.least / unit,
            "avg": self.total / self.count / unit,
            "max": self.most / unit,
        }
        return exact | {
            name: None if value is None else round(value / unit, 3)
            for name, value in quantiles.items()
        }

    def stored(self) -> Measured:
        """The measure in its stored form."""
        return Measured(self.count, self.total, self.least, self.most, sorted(self._bins.items()))


class Totals:
    """Outcomes of the pictures so far, counted."""

    def __init__(self, stored: Stored | None = None) -> None:
        self.elapsed_us = Measure(stored.elapsed_us if stored else None)
        self.size = Measure(stored.size if stored else None)
        self.classes = dict(stored.classes) if stored else {}
        self.failures = dict(stored.failures) if stored else {}

    @property
    def classified(self) -> int:
        """Pictures with an answer."""
        return self.elapsed_us.count

    @property
    def failed(self) -> int:
        """Pictures whose last try failed."""
        return sum(self.failures.values())

    def result(self, line: Result) -> None:
        """Count a classified picture."""
        self._forgive(line.retried)
        self.elapsed_us.add(round(line.elapsed_ms * 1000))
        self.size.add(line.size)
        self._label(line.label, 1)

    def failure(self, line: Failure) -> None:
        """Count a picture that failed."""
        self._forgive(line.retried)
        self.failures[line.kind] = self.failures.get(line.kind, 0) + 1

    def merge(self, others: Iterable[Totals]) -> Totals:
        """Add the totals of others, such as other shards."""
        for other in others:
            self.elapsed_us.merge(other.elapsed_us)
            self.size.merge(other.size)
            for label, count in other.classes.items():
                self._label(label, count)
            for kind, count in other.failures.items():
                self.failures[kind] = self.failures.get(kind, 0) + count
        return self

    def stored(self) -> Stored:
        """The totals in their stored form."""
        return Stored(
            self.elapsed_us.stored(), self.size.stored(), dict(self.classes), dict(self.failures)
        )

    def _forgive(self, kind: str) -> None:
        """Take back the failure that a retried picture was counted for before."""
        if kind:
            self.failures[kind] -= 1
            if not self.failures[kind]:
                del self.failures[kind]

    def _label(self, label: str, count: int) -> None:
        if label not in self.classes and len(self.classes) >= CLASSES_MOST:
            label = OTHER_CLASSES
        self.classes[label] = self.classes.get(label, 0) + count
