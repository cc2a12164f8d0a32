"""The made parts of docs/discussions/capacity.md: what the kept figures say.

A test holds that the page says what the figures say.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from benchmarks.capacity import plot, report
from benchmarks.capacity.blocks import filled, table
from benchmarks.capacity.operations import ABOUT
from benchmarks.capacity.results import Report, Trial
from benchmarks.capacity.sweep import ROOT, Figures, kept
from benchmarks.capacity.verdict import is_disturbed, is_lower_bound

PAGE = ROOT / "docs" / "discussions" / "capacity.md"
PLOTS = ROOT / "docs" / "images" / "capacity"
DRAWN = ("files", "read", "upload", "mix")
FINE = 0.005
"""Milliseconds below which a cost is not shown."""

BOUND = (
    "≥ marks a lower bound: the time or the requests of the run were used up before a rate close\n"
    "above broke, the client was the limit, or other programs used the machine.\n"
)

COMFORT = 0.7
"""Share of its capacity at which an instance should be run: above, queues grow with bursts."""


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
        "growth": growth(runs),
        "estimate": estimate(runs),
        "costs": costs(runs),
        "plots": plots(runs),
        "shares": report.shares().split("\n\n", 1)[1],
        "operations": table(
            ["name", "what it is"], [[name, about] for name, about in ABOUT.items()]
        ),
    }


def answer(runs: dict[int, Figures]) -> str:
    """The sentence that a hurried reader takes away: the file service first, then the rest."""
    figures = runs[max(runs)]
    rates = {name: f"**{bound(figures, name)}**" for name in ABOUT if figures.has(name)}
    listing = (
        f" or {rates['files-list']} lists of files\n(`files/`, 50 records each)"
        if "files-list" in rates
        else ""
    )
    return (
        f"With everything on {cores_of(max(runs))}, the client included, the file service\n"
        f"carries {rates['files']} uploads a second (`upload/`: an 80 KB picture, stored and "
        "then\n"
        f"processed by Celery){listing}. Of the rest: {rates['mix']} requests a second of a\n"
        f"realistic blend, or {rates['read']} reads of a record, or {rates['upload']} uploads of\n"
        "an 80 KB picture that is made ready in two sizes, grey and captioned.\n" + _reserve(runs)
    )


def _reserve(runs: dict[int, Figures]) -> str:
    """The warning about figures from a machine that others used."""
    names = _names(runs)
    disturbed = _disturbed(runs)
    if not disturbed:
        return ""
    which = (
        "These figures are"
        if len(disturbed) == len(names)
        else _listed(disturbed) + _be(disturbed)
    )
    return (
        f"\n**{which} preliminary:** other programs used up to "
        f"{_others(runs, disturbed):.1f} cores\n"
        "of the machine meanwhile. Run `make capacity` on a machine that has nothing else to do.\n"
    )


def _disturbed(runs: dict[int, Figures]) -> list[str]:
    """Operations that were measured beside other programs, with any number of cores."""
    kept = runs.values()
    return [
        name for name in _names(runs) if any(is_disturbed(each.measured(name)) for each in kept)
    ]


def _others(runs: dict[int, Figures], names: list[str]) -> float:
    """The most cores that other programs used while these operations broke or held."""
    found = [figures.measured(name) for figures in runs.values() for name in names]
    return max(trial.usage.others for each in found for trial in (each.knee, each.above) if trial)


def machine(runs: dict[int, Figures]) -> str:
    """Where it was measured, and when."""
    whole = {cores: figures.runs[0] for cores, figures in runs.items()}
    last = whole[max(whole)]
    lines = report.machine(last).splitlines()[:2]
    lines.append(f"- Measured {_when(whole)}.")
    lines += [
        f"- `{name}` was measured later, {_when(later)}." for name, later in _later(runs).items()
    ]
    lines.append(
        "- Roles: one `atelier up` with `api_workers`, `processor_workers` and `file_workers`\n  "
        "set to the cores."
    )
    return "\n".join(lines) + "\n\n" + report.terms(last) + "\n"


def _later(runs: dict[int, Figures]) -> dict[str, dict[int, Report]]:
    """The runs of operations that are not those of the whole run, by operation and cores."""
    return {
        name: {cores: figures.run(name) for cores, figures in runs.items()}
        for name in _names(runs)
        if any(figures.run(name) is not figures.runs[0] for figures in runs.values())
    }


def _when(runs: dict[int, Report]) -> str:
    """The moments of runs, and how busy the machine was with other things."""
    dates = [
        f"on {cores_of(cores)} at {run.began[:16].replace('T', ' ')} UTC"
        for cores, run in runs.items()
    ]
    busy = [f"{run.machine.busy_before or 0:.0%}" for run in runs.values()]
    found = [each for run in runs.values() for each in run.operations]
    near = [trial for each in found for trial in (each.knee, each.above) if trial]
    others = max((trial.usage.others for trial in near), default=0.0)
    return (
        f"{', '.join(dates)};\n  other programs used {', '.join(busy)} of the machine before "
        f"and at most {others:.2f} cores around the rates found"
    )


def carried(runs: dict[int, Figures]) -> str:
    """The rates that held, by operation and cores."""
    head = ["operation"]
    for cores in runs:
        head += [f"{cores_of(cores)}: per s", "p50 / p95 / p99 ms"]
    rows = []
    for name in _names(runs):
        cells = [
            cell
            for figures in runs.values()
            for cell in (bound(figures, name), _latency(figures, name))
        ]
        rows.append([name, *cells, "; ".join(runs[max(runs)].measured(name).saturated)])
    drawn = table([*head, f"saturated above it, {cores_of(max(runs))}"], rows)
    return drawn + ("\n" + BOUND if "≥" in drawn else "")


def growth(runs: dict[int, Figures]) -> str:
    """How the rates grow from the fewest cores to the most, and what a request costs there."""
    least, most = min(runs), max(runs)
    few, many = runs[least], runs[most]
    left_out = _disturbed(runs)
    names = [name for name in _names(runs) if few.measured(name).knee and many.measured(name).knee]
    names = [name for name in names if name not in left_out]
    if least == most:
        return f"The rates were measured on {cores_of(least)} only.\n"
    if not names:
        return "How rates grow cannot be said: other programs used the machine.\n"
    factors = {name: _knee(many, name).rate / _knee(few, name).rate for name in names}
    slow, fast = min(names, key=factors.__getitem__), max(names, key=factors.__getitem__)
    beyond = [name for name in names if factors[name] > most / least]
    return (
        f"With {cores_of(least)} for the server, the client has a core of its own; with\n"
        f"{cores_of(most)} it shares them. From {cores_of(least)} to {cores_of(most)} "
        "the rate grows\n"
        f"by a factor of {factors[slow]:.1f} (`{slow}`) to {factors[fast]:.1f} (`{fast}`);\n"
        f"in {len(beyond)} of {len(names)} operations it grows by more than the number of cores.\n"
        + _cheaper(runs, {name: [cost(few, name), cost(many, name)] for name in names}, fast)
        + (
            f"Left out, since other programs used the machine: {_listed(left_out)}.\n"
            if left_out
            else ""
        )
    )


def _cheaper(runs: dict[int, Figures], spent: dict[str, list[float]], fast: str) -> str:
    """CPU per request with few cores and with many; `fast` grew most."""
    cheaper = [name for name in spent if spent[name][1] < spent[name][0]]
    why = ":\nrequests that come together share look-ups, commits, acknowledgements and disk syncs"
    return (
        f"At the rates found a request takes less CPU on {cores_of(max(runs))} than on "
        f"{cores_of(min(runs))} in {len(cheaper)} of {len(spent)}\noperations "
        f"({_examples(spent, ('mix', fast))}){why if cheaper else ''}.\n"
    )


def _examples(spent: dict[str, list[float]], names: Iterable[str]) -> str:
    shown = [name for name in dict.fromkeys(names) if name in spent]
    return "; ".join(
        f"`{name}`: {spent[name][0]:.2f} and {spent[name][1]:.2f} ms" for name in shown
    )


def costs(runs: dict[int, Figures]) -> str:
    """CPU milliseconds per request, by role, in the trial nearest to half of the knee."""
    figures = runs[min(runs)]
    spent = {name: costs_of(figures, name) for name in _names(runs)}
    roles = sorted(
        {role for each in spent.values() for role, cost in each.items() if cost >= FINE}
    )
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
    """The rates that costs at half load promise, beside the measured ones."""
    least, figures = min(runs), runs[min(runs)]
    rows = []
    for name in _names(runs):
        spent, knee = sum(costs_of(figures, name).values()), figures.measured(name).knee
        if knee and spent:
            promised = least * 1000 / spent
            cells = [
                f"{spent:.2f}",
                rate(promised),
                rate(knee.rate),
                f"{knee.rate / promised:.0%}",
            ]
            rows.append([name, *cells, rate(COMFORT * knee.rate)])
    head = [
        "operation",
        "CPU ms each",
        f"promises on {cores_of(least)}, per s",
        "measured",
        "share",
    ]
    return table([*head, f"run it at {COMFORT:.0%}"], rows)


def plots(runs: dict[int, Figures]) -> str:
    """The plots that tell most."""
    return "".join(
        f"![{name} on {cores_of(cores)}: latency and "
        f"throughput](../images/capacity/{cores}-{name}.svg)\n"
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


def bound(figures: Figures, name: str) -> str:
    """The rate that an operation carries, marked where it is only known to be at least so high."""
    measured = figures.measured(name)
    if measured.knee is None:
        return "none"
    least = is_lower_bound(measured, figures.run(name).p95_limit_ms / 1000)
    return ("≥ " if least else "") + rate(measured.knee.rate)


def _latency(figures: Figures, name: str) -> str:
    knee = figures.measured(name).knee
    return (
        f"{knee.latency.p50:.1f} / {knee.latency.p95:.1f} / {knee.latency.p99:.1f}" if knee else ""
    )


def _knee(figures: Figures, name: str) -> Trial:
    knee = figures.measured(name).knee
    assert knee
    return knee


def cost(figures: Figures, name: str) -> float:
    """CPU milliseconds of one request at the rate found, all roles together."""
    return sum(_knee(figures, name).cost_ms(figures.run(name).idle).values())


def cores_of(count: int) -> str:
    """A number of cores in words."""
    return "one core" if count == 1 else f"{count} cores"


def rate(value: float) -> str:
    """A rate with the digits that count."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _be(names: list[str]) -> str:
    return " is" if len(names) == 1 else " are"


def write() -> None:
    """Write the page and its plots."""
    runs = kept()
    draw(runs)
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), made(runs)), encoding="utf-8")
