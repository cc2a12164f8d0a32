"""The made parts of docs/discussions/capacity.md: what the kept figures say.

A test holds that the page says what the figures say.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from benchmarks.capacity import plot, report
from benchmarks.capacity.blocks import filled, table
from benchmarks.capacity.operations import ABOUT
from benchmarks.capacity.sweep import ROOT, Figures, kept
from benchmarks.capacity.verdict import STRANGERS

if TYPE_CHECKING:
    from benchmarks.capacity.results import Measured

PAGE = ROOT / "docs" / "discussions" / "capacity.md"
PLOTS = ROOT / "docs" / "images" / "capacity"
DRAWN = ("read", "upload", "mix")
FINE = 0.005
"""Milliseconds below which a cost is not shown."""

COMFORT = 0.7
"""Share of what it carries at which an instance should be run: above, queues grow with every gust."""


def draw(runs: dict[int, Figures]) -> None:
    """Write the plot of every operation of every run, and remove those of earlier ones."""
    shutil.rmtree(PLOTS, ignore_errors=True)
    PLOTS.mkdir(parents=True)
    for cores, figures in runs.items():
        for name in filter(figures.has, ABOUT):
            drawn = plot.svg(figures.measured(name), figures.run(name).p95_limit_ms)
            (PLOTS / f"{cores}-{name}.svg").write_text(drawn, encoding="utf-8")


def made(runs: dict[int, Figures]) -> dict[str, str]:
    """Every made part of the page."""
    return {
        "answer": answer(runs),
        "machine": machine(runs),
        "carried": carried(runs),
        "estimate": estimate(runs),
        "costs": costs(runs),
        "plots": plots(runs),
        "shares": report.shares().split("\n\n", 1)[1],
        "operations": table(["name", "what it is"], [[name, about] for name, about in ABOUT.items()]),
    }


def answer(runs: dict[int, Figures]) -> str:
    """The sentence that a hurried reader takes away."""
    most = runs[max(runs)]
    said = {name: most.measured(name).knee for name in ("mix", "read", "upload")}
    rates = {name: f"**{_rate(knee.rate)}**" if knee else "no" for name, knee in said.items()}
    return (
        f"With everything on {_cores(max(runs))}, the client included: {rates['mix']} requests a second of a\n"
        f"realistic blend; or {rates['read']} reads of a record; or {rates['upload']} uploads of an 80 KB picture,\n"
        "made ready in two sizes, grey and captioned.\n" + _reserve(runs)
    )


def _reserve(runs: dict[int, Figures]) -> str:
    """What has to be said of figures from a machine that others used."""
    knees = [figures.measured(name).knee for figures in runs.values() for name in _names(runs)]
    held = [knee.usage.others for knee in knees if knee]
    others = max(held, default=0.0)
    if others <= STRANGERS:
        return ""
    return (
        f"\n**These figures are preliminary:** other programs used up to {others:.1f} cores of the machine meanwhile.\n"
        "Run `make capacity` on a machine that has nothing else to do.\n"
    )


def machine(runs: dict[int, Figures]) -> str:
    """Where it was measured, and when."""
    whole = {cores: figures.runs[0] for cores, figures in runs.items()}
    last = whole[max(whole)]
    lines = report.machine(last).splitlines()[:2]
    dates = ", ".join(f"{_cores(cores)}: {run.began[:16].replace('T', ' ')} UTC" for cores, run in whole.items())
    busy = ", ".join(f"{run.machine.busy_before or 0:.0%}" for run in whole.values())
    lines.append(f"- Measured on {dates}; busy with other things before each run: {busy}.")
    lines.append(
        "- Roles: one `atelier up` with `api_workers`, `processor_workers` and `file_workers` set to the cores."
    )
    return "\n".join(lines) + "\n\n" + report.terms(last) + "\n"


def carried(runs: dict[int, Figures]) -> str:
    """What holds, by operation and cores."""
    head = ["operation"]
    for cores in runs:
        head += [f"{_cores(cores)}: per s", "p50 / p95 / p99 ms"]
    rows = []
    for name in _names(runs):
        cells = [cell for figures in runs.values() for cell in _carried(figures.measured(name))]
        rows.append([name, *cells, "; ".join(runs[max(runs)].measured(name).saturated)])
    return table([*head, f"saturated above it, {_cores(max(runs))}"], rows)


def costs(runs: dict[int, Figures]) -> str:
    """CPU milliseconds per request, by role, in the trial nearest to half of the knee."""
    figures = runs[min(runs)]
    spent = {name: costs_of(figures, name) for name in _names(runs)}
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


def estimate(runs: dict[int, Figures]) -> str:
    """What the costs at half load promise, beside what was measured."""
    least, figures = min(runs), runs[min(runs)]
    rows = []
    for name in _names(runs):
        spent, knee = sum(costs_of(figures, name).values()), figures.measured(name).knee
        if knee and spent:
            promised = least * 1000 / spent
            cells = [f"{spent:.2f}", _rate(promised), _rate(knee.rate), f"{knee.rate / promised:.0%}"]
            rows.append([name, *cells, _rate(COMFORT * knee.rate)])
    head = ["operation", "CPU ms each", f"promises on {_cores(least)}, per s", "measured", "share"]
    return table([*head, f"run it at {COMFORT:.0%}"], rows)


def plots(runs: dict[int, Figures]) -> str:
    """The plots that tell most."""
    return "".join(
        f"![{name} on {_cores(cores)}: latency and throughput](../images/capacity/{cores}-{name}.svg)\n"
        for name in DRAWN
        for cores in runs
        if runs[cores].has(name)
    )


def costs_of(figures: Figures, name: str) -> dict[str, float]:
    """CPU milliseconds per request by role, in the trial that held nearest to half of the knee."""
    measured = figures.measured(name)
    if measured.knee is None:
        return {}
    half = measured.knee.rate / 2
    held = [trial for trial in measured.trials if not trial.broken and trial.achieved]
    return min(held, key=lambda trial: abs(trial.rate - half)).cost_ms(figures.run(name).idle)


def _names(runs: dict[int, Figures]) -> list[str]:
    """Operations that every run has."""
    return [name for name in ABOUT if all(figures.has(name) for figures in runs.values())]


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


def write() -> None:
    """Write the page and its plots."""
    runs = kept()
    draw(runs)
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), made(runs)), encoding="utf-8")
