"""The figures that are kept: a whole run, and later runs of some operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from benchmarks.capacity import sweep
from benchmarks.capacity.operations import ABOUT
from benchmarks.capacity.results import Machine, Measured, Quantiles, Report, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def written(folder: Path, began: str, rate: float, names: Sequence[str]) -> Path:
    """A report as the tool writes it: every operation carries `rate`."""
    held = Trial(rate, 1, 1, rate, Quantiles(1, 1, 1), 0, {}, 0)
    measured = [Measured(name, "", [held], held, certain=True, saturated=[]) for name in names]
    machine = Machine(2, "", 1.0, "Linux 6.1-vendor", "", {}, 0.0, {}, {})
    report = Report("http://127.0.0.1:1", "1", began, 1, 250, 2000, 1, machine, measured)
    path = folder / "capacity.json"
    path.write_bytes(msgspec.json.encode(report))
    return path


def rates(folder: Path) -> dict[str, float]:
    """The rate of each operation on one core, as far as it is kept."""
    figures = sweep.kept(folder)[1]
    found = {name: figures.measured(name).knee for name in ABOUT if figures.has(name)}
    return {name: knee.rate for name, knee in found.items() if knee}


def test_some_operations_measured_again_replace_their_own_figures(tmp_path: Path) -> None:
    """A later run of one operation is what counts for it; the others keep theirs, in their run."""
    kept = tmp_path / "kept"
    sweep.keep(written(tmp_path, "2026-01-01T00:00", 10, list(ABOUT)), 1, kept)
    sweep.keep(written(tmp_path, "2026-01-02T00:00", 20, ["take"]), 1, kept)
    sweep.keep(written(tmp_path, "2026-01-03T00:00", 30, ["take", "list"]), 1, kept)
    sweep.keep(written(tmp_path, "2026-01-04T00:00", 40, list(ABOUT)), 2, kept)
    assert rates(kept) == dict.fromkeys(ABOUT, 10) | {"take": 30, "list": 30}
    assert sweep.kept(kept)[1].run("take").began == "2026-01-03T00:00"
    assert sweep.kept(kept)[1].run("read").began == "2026-01-01T00:00"
    assert list(sweep.kept(kept)) == [1, 2]


def test_a_run_of_all_operations_replaces_everything(tmp_path: Path) -> None:
    """Nothing of an earlier day is left beside a whole run with the same cores."""
    kept = tmp_path / "kept"
    sweep.keep(written(tmp_path, "2026-01-02T00:00", 20, ["take"]), 1, kept)
    sweep.keep(written(tmp_path, "2026-01-01T00:00", 10, list(ABOUT)), 1, kept)
    assert rates(kept) == dict.fromkeys(ABOUT, 10)
    assert sweep.kept(kept)[1].run("read").machine.kernel == "Linux 6.1"
