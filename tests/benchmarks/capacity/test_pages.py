"""The sentences of the pages follow from the figures, whichever way those point."""

from __future__ import annotations

import pytest

from benchmarks.capacity import pages, scaling
from benchmarks.capacity.results import Machine, Measured, Quantiles, Report, Trial, Usage
from benchmarks.capacity.sweep import Figures
from benchmarks.capacity.verdict import is_lower_bound

MACHINE = Machine(2, "A processor", 4.0, "Linux 6", "CPython 3.11", {}, 0.05, {"api": 1}, {})


def trial(
    rate: float, *, broken: str = "", cores: float = 1.0, client: float = 0.2, others: float = 0.0
) -> Trial:
    """A second at `rate`, in which the server used so many cores."""
    usage = Usage(seconds=1, cores={"api": cores}, client=client, machine=0.5, others=others)
    return Trial(rate, 1, round(rate), rate, Quantiles(1, 2, 3), 0.1, {}, 0, None, broken, usage)


def measured(
    name: str, rate: float, *, cores: float = 1.0, above: float = 1.05, others: float = 0.0
) -> Measured:
    """An operation that carries `rate`; `above` times as much broke."""
    held = trial(rate, cores=cores, others=others)
    broke = trial(above * rate, broken="p95 900 ms")
    return Measured(name, "", [held, broke], held, certain=True, saturated=[])


def figures(*operations: Measured, began: str = "2026-01-01T00:00:00+00:00") -> Figures:
    """One run's measurements."""
    return Figures([Report("", "1", began, 9, 250, 2000, 80_000, MACHINE, list(operations))])


@pytest.mark.parametrize(
    ("made", "bound"),
    [
        (measured("read", 100), False),
        (measured("read", 100, above=1.6), True),
        (Measured("read", "", [trial(100)], trial(100), certain=False, saturated=[]), True),
        (
            Measured("read", "", [trial(100, broken="p95")], None, certain=False, saturated=[]),
            False,
        ),
        (
            Measured(
                "read",
                "",
                [trial(100), trial(105, broken="p95", client=0.95)],
                trial(100),
                certain=True,
                saturated=[],
            ),
            True,
        ),
        (measured("read", 100, others=0.5), True),
    ],
    ids=["exact", "early end", "nothing broke", "nothing held", "full client", "others busy"],
)
def test_lower_bounds(made: Measured, *, bound: bool) -> None:
    """A rate is a lower bound unless one close above broke and the machine was the server's."""
    assert is_lower_bound(made, 0.25) is bound


def test_the_headline_names_the_file_service_first_and_marks_lower_bounds() -> None:
    """Uploads and lists of files come before the rest; a rate that is a lower bound says so."""
    names = {"files": 60, "files-list": 900, "mix": 1000, "read": 13_000, "upload": 87}
    made = [
        measured(name, rate, above=1.6 if name == "read" else 1.05) for name, rate in names.items()
    ]
    said = " ".join(pages.answer({2: figures(*made)}).split())
    assert "**60** uploads a second (`upload/`" in said
    assert "**900** lists of files (`files/`" in said
    assert said.index("`files/`") < said.index("**1,000** requests")
    assert "**≥ 13,000** reads" in said
    assert "preliminary" not in said


def test_what_others_disturbed_is_called_preliminary() -> None:
    """Only operations during which other programs were busy are called so."""
    names = ("files", "mix", "read", "upload")
    made = [measured(name, 100, others=0.9 if name == "files" else 0.1) for name in names]
    said = " ".join(pages.answer({2: figures(*made)}).split())
    assert "**`files` is preliminary:** other programs used up to 0.9 cores" in said


def test_growth_says_what_the_figures_say() -> None:
    """More than double, less than double, cheaper, dearer: each operation is counted as it is."""
    one = figures(measured("list", 100), measured("take", 100), measured("mix", 100))
    two = figures(
        measured("list", 150, cores=1.8),
        measured("take", 300, cores=1.8),
        measured("mix", 201, cores=1.9),
    )
    said = " ".join(pages.growth({1: one, 2: two}).split())
    assert "grows by a factor of 1.5 (`list`) to 3.0 (`take`)" in said
    assert "in 2 of 3 operations it grows by more than the number of cores" in said
    assert "less CPU on 2 cores than on one core in 2 of 3" in said
    assert "`mix`: 10.00 and 9.45 ms; `take`: 10.00 and 6.00 ms" in said
    assert "Left out" not in said
    assert "one core only" in pages.growth({1: one})


def test_growth_leaves_out_what_others_disturbed() -> None:
    """An operation during which other programs were busy is no measure of how rates grow."""
    one = figures(measured("list", 100), measured("mix", 100))
    two = figures(measured("list", 110, others=0.8), measured("mix", 190))
    said = " ".join(pages.growth({1: one, 2: two}).split())
    assert "factor of 1.9 (`mix`) to 1.9 (`mix`)" in said
    assert "in 0 of 1 operations" in said
    assert "Left out, since other programs used the machine: `list`." in said
    assert "cannot be said" in pages.growth({1: figures(measured("list", 100)), 2: two})


def test_a_later_run_is_told_with_its_own_moment_and_load() -> None:
    """An operation that was measured again says when, and what else the machine did then."""
    kept = figures(measured("read", 100), measured("take", 100))
    kept.runs.extend(
        figures(measured("take", 90, others=0.4), began="2026-02-03T04:05:06+00:00").runs
    )
    said = " ".join(pages.machine({2: kept}).split())
    assert "`take` was measured later, on 2 cores at 2026-02-03 04:05 UTC" in said
    assert "at most 0.40 cores" in said
    assert "`read` was measured later" not in said


@pytest.mark.parametrize(
    ("rate", "word"),
    [(1000, "because a request takes less CPU"), (300, "something other than CPU was full")],
)
def test_division_and_measurement_are_compared(rate: float, word: str) -> None:
    """A rate that division promises stands beside the measured one, with the reason."""
    said = " ".join(scaling.measured({2: figures(measured("mix", rate, cores=1.8))}, 4.0).split())
    assert "2 cores / 4.00 ms = 500 requests" in said
    assert f"were {rate:,} on 2 cores" in said
    assert word in said
