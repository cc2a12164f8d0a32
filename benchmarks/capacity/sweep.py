"""Measures this machine with one core for the server, two, four and so on, and keeps the figures.

The client has the other cores. At last the server may use all of them, and the client shares
them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.capacity.operations import ABOUT
from benchmarks.capacity.results import Measured, Report
from tests.ports import free_port
from tests.system.instance import Instance

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "discussions" / "capacity"
PICTURE = ROOT / "tests" / "photos" / "waterfall_640x480.jpg"


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured with the same number of cores for the server."""

    runs: list[Report]
    """A run of all operations and runs of some, the newest last."""

    def has(self, name: str) -> bool:
        """True if the operation was measured."""
        return any(measured.name == name for run in self.runs for measured in run.operations)

    def run(self, name: str) -> Report:
        """The newest run that measured the operation. Raises StopIteration when none did."""
        runs = reversed(self.runs)
        return next(run for run in runs if any(each.name == name for each in run.operations))

    def measured(self, name: str) -> Measured:
        """The newest figures of an operation. Raises StopIteration when there are none."""
        return next(each for each in self.run(name).operations if each.name == name)


def steps(cores: int) -> list[int]:
    """Cores for the server: 1, 2, 4 and so on while one is left for the client, and all."""
    return [2**power for power in range(cores.bit_length()) if 2**power < cores] + [cores]


def measure(cores: int, duration: str, operations: Sequence[str]) -> None:
    """Run the tool against an instance that may use so many cores, and keep what it reports."""
    everything = sorted(os.sched_getaffinity(0))
    workers = {f"{role}_workers": str(cores) for role in ("api", "processor", "file")}
    with tempfile.TemporaryDirectory(
        prefix="atelier-capacity-", ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o711)
        instance = Instance(Path(folder), grpc_port="0", metrics_port=str(free_port()), **workers)
        os.sched_setaffinity(0, everything[:cores])
        try:
            instance.start()
            os.sched_setaffinity(0, everything[cores:] or everything)
            output = Path(folder) / "report"
            words = ["--url", instance.url, "--for", duration, "--mix", ",".join(operations)]
            words += ["--picture", str(PICTURE), "--output", str(output)]
            tool = [sys.executable, "-m", "benchmarks.capacity", "instance"]
            subprocess.run([*tool, *words], check=False, cwd=ROOT)
            keep(output / "capacity.json", cores)
        finally:
            os.sched_setaffinity(0, everything)
            instance.close()


def keep(report: Path, cores: int, folder: Path = FIGURES) -> None:
    """Keep a report. One of all operations replaces whatever there is of so many cores."""
    folder.mkdir(parents=True, exist_ok=True)
    run = msgspec.json.decode(report.read_bytes(), type=Report)
    run.machine.kernel = run.machine.kernel.partition("-")[0]  # a vendor's suffix tells nothing
    names = [each.name for each in run.operations]
    some = "" if set(names) >= set(ABOUT) else "-" + "+".join(names)
    if not some:
        for earlier in folder.glob(f"{cores}-*.json"):
            earlier.unlink()
    (folder / f"{cores}{some}.json").write_text(_by_trial(run), encoding="utf-8")


def kept(folder: Path = FIGURES) -> dict[int, Figures]:
    """The figures that are kept, by the server's cores."""
    found: dict[int, Figures] = {}
    for path in folder.glob("*.json"):
        run = msgspec.json.decode(path.read_bytes(), type=Report)
        found.setdefault(int(path.stem.partition("-")[0]), Figures([])).runs.append(run)
    for figures in found.values():
        figures.runs.sort(key=lambda run: run.began)
    return dict(sorted(found.items()))


def _by_trial(run: Report) -> str:
    """As JSON, a line for each trial: what changed between two runs can be seen."""
    return msgspec.json.encode(run).decode().replace('{"rate":', '\n{"rate":') + "\n"
