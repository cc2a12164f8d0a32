"""Measures what this machine carries and writes it into docs/discussions/capacity.md, between the words of that page.

    python -m benchmarks.capacity.pages [--for 6m]     measure, then write; `make capacity`
    python -m benchmarks.capacity.pages --render       write anew from the figures of the last time

The server gets one core, two, four and so on, with the client on a core of its own; at last all of them, which the
client then shares. A test holds that the page says what the figures say.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks.capacity import page, plot
from benchmarks.capacity.blocks import filled, table
from benchmarks.capacity.operations import ABOUT
from benchmarks.capacity.results import Measured, Report
from benchmarks.capacity.verdict import STRANGERS
from tests.system.instance import Instance, free_port

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "discussions" / "capacity.md"
FIGURES = ROOT / "docs" / "discussions" / "capacity"
PLOTS = ROOT / "docs" / "images" / "capacity"
PICTURE = ROOT / "tests" / "photos" / "waterfall_640x480.jpg"
DRAWN = ("read", "upload", "mix")
FINE = 0.005
"""Milliseconds below which a cost is not shown."""

COMFORT = 0.7
"""Share of what it carries at which an instance should be run: above, queues grow with every gust."""


def steps(cores: int) -> list[int]:
    """Cores for the server: 1, 2, 4 and so on while one is left for the client, and all."""
    return [2**power for power in range(cores.bit_length()) if 2**power < cores] + [cores]


def measure(cores: int, duration: str) -> None:
    """One run of the tool against an instance that may use so many cores."""
    everything = sorted(os.sched_getaffinity(0))
    workers = {f"{role}_workers": str(cores) for role in ("api", "processor", "file")}
    with tempfile.TemporaryDirectory(prefix="atelier-capacity-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        instance = Instance(Path(folder), grpc_port="0", metrics_port=str(free_port()), **workers)
        os.sched_setaffinity(0, everything[:cores])
        try:
            instance.start()
            os.sched_setaffinity(0, everything[cores:] or everything)
            output = Path(folder) / "report"
            words = ["--url", instance.url, "--for", duration, "--picture", str(PICTURE), "--output", str(output)]
            subprocess.run([sys.executable, "-m", "benchmarks.capacity", *words], check=False)
            keep(output, cores)
        finally:
            os.sched_setaffinity(0, everything)
            instance.close()


def keep(output: Path, cores: int) -> None:
    """Take over what a run wrote."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    report = msgspec.json.decode((output / "capacity.json").read_bytes(), type=Report)
    report.machine.kernel = report.machine.kernel.partition("-")[0]  # what a vendor appends says nothing to others
    (FIGURES / f"{cores}.json").write_text(_by_trial(report), encoding="utf-8")


def _by_trial(report: Report) -> str:
    """As JSON, a line for each trial: what changed between two runs can be seen."""
    return msgspec.json.encode(report).decode().replace('{"rate":', '\n{"rate":') + "\n"


def reports() -> dict[int, Report]:
    """The figures of the last time, by the server's cores."""
    found = {int(path.stem): msgspec.json.decode(path.read_bytes(), type=Report) for path in FIGURES.glob("*.json")}
    return dict(sorted(found.items()))


def draw(runs: dict[int, Report]) -> None:
    """Write the plot of every operation of every run, and remove those of earlier ones."""
    shutil.rmtree(PLOTS, ignore_errors=True)
    PLOTS.mkdir(parents=True)
    for cores, report in runs.items():
        for measured in report.operations:
            drawn = plot.svg(measured, report.p95_limit_ms)
            (PLOTS / f"{cores}-{measured.name}.svg").write_text(drawn, encoding="utf-8")


def made(runs: dict[int, Report]) -> dict[str, str]:
    """Every made part of the page."""
    return {
        "answer": answer(runs),
        "machine": machine(runs),
        "carried": carried(runs),
        "estimate": estimate(runs),
        "costs": costs(runs),
        "plots": plots(runs),
        "shares": page.shares().split("\n\n", 1)[1],
        "operations": table(["name", "what it is"], [[name, about] for name, about in ABOUT.items()]),
    }


def answer(runs: dict[int, Report]) -> str:
    """The sentence that a hurried reader takes away."""
    most = runs[max(runs)]
    said = {name: _operation(most, name).knee for name in ("mix", "read", "upload")}
    rates = {name: f"**{_rate(knee.rate)}**" if knee else "no" for name, knee in said.items()}
    return (
        f"With everything on {_cores(max(runs))}, the client included: {rates['mix']} requests a second of a\n"
        f"realistic blend; or {rates['read']} reads of a record; or {rates['upload']} uploads of an 80 KB picture,\n"
        "made ready in two sizes, grey and captioned.\n" + _reserve(runs)
    )


def _reserve(runs: dict[int, Report]) -> str:
    """What has to be said of figures from a machine that others used."""
    held = [measured.knee.usage.others for report in runs.values() for measured in report.operations if measured.knee]
    others = max(held, default=0.0)
    if others <= STRANGERS:
        return ""
    return (
        f"\n**These figures are preliminary:** other programs used up to {others:.1f} cores of the machine meanwhile.\n"
        "Run `make capacity` on a machine that has nothing else to do.\n"
    )


def machine(runs: dict[int, Report]) -> str:
    """Where it was measured, and when."""
    last = runs[max(runs)]
    lines = page.machine(last).splitlines()[:2]
    dates = ", ".join(f"{_cores(cores)}: {report.began[:16].replace('T', ' ')} UTC" for cores, report in runs.items())
    busy = ", ".join(f"{report.machine.busy_before or 0:.0%}" for report in runs.values())
    lines.append(f"- Measured on {dates}; busy with other things before each run: {busy}.")
    lines.append(
        "- Roles: one `atelier up` with `api_workers`, `processor_workers` and `file_workers` set to the cores."
    )
    return "\n".join(lines) + "\n\n" + page.terms(last) + "\n"


def carried(runs: dict[int, Report]) -> str:
    """What holds, by operation and cores."""
    head = ["operation"]
    for cores in runs:
        head += [f"{_cores(cores)}: per s", "p50 / p95 / p99 ms"]
    rows = []
    for name in _names(runs):
        cells = [cell for report in runs.values() for cell in _carried(_operation(report, name))]
        rows.append([name, *cells, "; ".join(_operation(runs[max(runs)], name).saturated)])
    return table([*head, f"saturated above it, {_cores(max(runs))}"], rows)


def costs(runs: dict[int, Report]) -> str:
    """CPU milliseconds per request, by role, in the trial nearest to half of the knee."""
    report = runs[min(runs)]
    spent = {name: costs_of(report, name) for name in _names(runs)}
    roles = sorted({role for each in spent.values() for role, cost in each.items() if cost >= FINE})
    rows = [
        [
            name,
            f"{sum(each.values()):.2f}",
            *(f"{each[role]:.2f}" if each.get(role, 0) >= FINE else "" for role in roles),
        ]
        for name, each in spent.items()
    ]
    return table(["CPU ms per request", "all", *roles], rows)


def estimate(runs: dict[int, Report]) -> str:
    """What the costs at half load promise, beside what was measured."""
    least, report = min(runs), runs[min(runs)]
    rows = []
    for name in _names(runs):
        spent, knee = sum(costs_of(report, name).values()), _operation(report, name).knee
        if knee and spent:
            promised = least * 1000 / spent
            cells = [f"{spent:.2f}", _rate(promised), _rate(knee.rate), f"{knee.rate / promised:.0%}"]
            rows.append([name, *cells, _rate(COMFORT * knee.rate)])
    head = ["operation", "CPU ms each", f"promises on {_cores(least)}, per s", "measured", "share"]
    return table([*head, f"run it at {COMFORT:.0%}"], rows)


def plots(runs: dict[int, Report]) -> str:
    """The plots that tell most."""
    return "".join(
        f"![{name} on {_cores(cores)}: latency and throughput](../images/capacity/{cores}-{name}.svg)\n"
        for name in DRAWN
        for cores in runs
        if any(measured.name == name for measured in runs[cores].operations)
    )


def costs_of(report: Report, name: str) -> dict[str, float]:
    """CPU milliseconds per request by role, in the trial that held nearest to half of the knee."""
    measured = _operation(report, name)
    if measured.knee is None:
        return {}
    half = measured.knee.rate / 2
    held = [trial for trial in measured.trials if not trial.broken and trial.achieved]
    return min(held, key=lambda trial: abs(trial.rate - half)).cost_ms(report.idle)


def _names(runs: dict[int, Report]) -> list[str]:
    """Operations that every run has."""
    return [name for name in ABOUT if all(any(m.name == name for m in report.operations) for report in runs.values())]


def _operation(report: Report, name: str) -> Measured:
    return next(measured for measured in report.operations if measured.name == name)


def _carried(measured: Measured) -> list[str]:
    if measured.knee is None:
        return ["none", ""]
    latency = measured.knee.latency
    least = "" if measured.certain else "≥ "
    return [least + _rate(measured.knee.rate), f"{latency.p50:.1f} / {latency.p95:.1f} / {latency.p99:.1f}"]


def _cores(count: int) -> str:
    return "one core" if count == 1 else f"{count} cores"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def main() -> int:
    """Measure unless only the page is wanted, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--for", dest="duration", default="6m", help="time of each run")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    options = parser.parse_args()
    if not options.render:
        for cores in steps(len(os.sched_getaffinity(0))):
            measure(cores, options.duration)
    runs = reports()
    draw(runs)
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), made(runs)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
