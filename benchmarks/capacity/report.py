"""The report for people: a Markdown page with its plots, and a table for the terminal."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from benchmarks.capacity import plot, verdict
from benchmarks.capacity.operations import SHARES
from benchmarks.capacity.results import Measured, Quantiles, Report

UNSEEN = "unseen"
"""The cost of a request where the server's processes cannot be seen."""

COLUMNS = (
    "operation",
    "carries",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "server CPU ms each",
    "saturated above it",
)


def write(report: Report, folder: Path) -> None:
    """Write `capacity.json`, `capacity.md` and a plot for each operation.

    Each is whole or not there.
    """
    for measured in report.operations:
        _put(folder / plot_name(measured), plot.svg(measured, report.p95_limit_ms))
    _put(folder / "capacity.md", page(report))
    _put(
        folder / "capacity.json",
        msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n",
    )


def plot_name(measured: Measured) -> str:
    """The file of an operation's plot."""
    return f"capacity-{measured.name}.svg"


def page(report: Report) -> str:
    """The whole page."""
    parts = ["# What this instance carries\n", _head(report), table(report), machine(report)]
    for measured in report.operations:
        parts += [
            f"## {measured.name}\n\n{measured.about}.\n",
            section(measured, plot_name(measured)),
        ]
    if any(measured.name == "mix" for measured in report.operations):
        parts.append(shares())
    return "\n".join(parts)


def table(report: Report) -> str:
    """A row for each operation."""
    rows = [" | ".join(row) for row in _rows(report)]
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
        *(f"| {row} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def text(report: Report) -> str:
    """The same for a terminal."""
    lines = [
        (
            f"p95 within {report.p95_limit_ms:.0f} ms, uploads ready within "
            f"{report.ready_limit_ms:.0f} ms:"
        )
    ]
    for name, carries, *latency, cpu, why in _rows(report):
        figures = f"   p50/p95/p99 {' / '.join(latency)} ms" if any(latency) else ""
        cost = f", server {cpu} ms CPU each" if cpu not in ("", UNSEEN) else ""
        lines.append(f"  {name:12} {carries:>34}{figures}{cost}")
        if why:
            lines.append(f"  {'':12} {why.replace('**', '').replace('`', '')}")
    return "\n".join([*lines, f"the run took {took(report)}"])


def took(report: Report) -> str:
    """How long the run took, and for what."""
    measuring, rest = report.measuring_seconds, report.seconds - report.measuring_seconds
    return (
        f"{report.seconds:.0f} s: {measuring:.0f} s of measuring, {rest:.0f} s of preparing "
        "and cleaning up"
    )


def section(measured: Measured, plot: str) -> str:
    """An operation's plot and its trials."""
    lines = [f"![Latency and throughput of {measured.name} over the offered rate]({plot})", ""]
    lines += [
        (
            "| offered/s | good/s | p50 ms | p95 ms | p99 ms | ready/s | ready p95 ms | answers | "
            "verdict |"
        ),
        "|---" * 9 + "|",
    ]
    for trial in sorted(measured.trials, key=lambda each: each.rate):
        ready = trial.ready
        answers = ", ".join(f"{count} x {status}" for status, count in trial.statuses.items())
        lines.append(
            f"| {_rate(trial.rate)} | {_rate(trial.achieved)} | {_latency(trial.latency)} | "
            f"{_rate(ready.per_second) if ready else ''} | "
            f"{f'{ready.latency.p95:.0f}' if ready else ''} | {answers} | "
            f"{trial.broken or 'holds'} |"
        )
    if measured.ended:
        lines += ["", f"The search ended early: {measured.ended}."]
    return "\n".join(lines) + "\n"


def machine(report: Report) -> str:
    """Where it was measured."""
    here = report.machine
    busy = (
        ""
        if here.busy_before is None
        else f"; {here.busy_before:.0%} of it busy with other things before the run"
    )
    lines = [
        (
            f"- Machine: {here.cores} cores ({here.model}), {here.memory_gib} GiB, "
            f"{here.kernel}{busy}."
        ),
        f"- {here.python}; "
        + ", ".join(f"{name} {version}" for name, version in here.packages.items())
        + ".",
    ]
    if here.processes:
        lines.append(
            "- Server's processes: "
            + ", ".join(f"{role} {count}" for role, count in here.processes.items())
            + "."
        )
    else:
        lines.append(
            "- The server's processes cannot be seen from here (another machine, a container or "
            "another user)."
        )
    chosen = ", ".join(f"`{name}` {value}" for name, value in sorted(here.settings.items()))
    lines.append(
        f"- Settings in its environment: {chosen or 'none of those that matter here'}; all "
        "others as they come."
    )
    return "\n".join(lines) + "\n"


def shares() -> str:
    """The parts of the blend."""
    rows = "\n".join(f"| {name} | {share} % |" for name, share in SHARES.items())
    return f"### What `mix` is made of\n\n| operation | share |\n|---|---|\n{rows}\n"


def _head(report: Report) -> str:
    stopped = " **It was interrupted: some operations are missing.**" if report.interrupted else ""
    title = f"Atelier {report.version} at {report.url}, {report.began}; {took(report)}.{stopped}"
    return f"{title}\n\n{terms(report)}\n"


def terms(report: Report) -> str:
    """The limits within which a rate holds."""
    return (
        f"A rate *holds* while 95 % of the answers come within {report.p95_limit_ms:.0f} ms of "
        "the moment at which\n"
        "their request was due, 95 % of the uploads are ready within "
        f"{report.ready_limit_ms:.0f} ms, and at most one\n"
        "request in a thousand fails. Requests come at random moments, whether or not earlier "
        "ones were answered\n"
        f"(open loop). An upload is a picture of {report.picture_bytes:,} bytes with a "
        "description."
    )


def _rows(report: Report) -> list[list[str]]:
    return [_row(measured, report) for measured in report.operations]


def _row(measured: Measured, report: Report) -> list[str]:
    why = "; ".join(measured.saturated)
    knee = measured.knee
    if knee is None:
        if not measured.trials:
            return [measured.name, "not measured", "", "", "", "", measured.ended]
        return [measured.name, "not even the lowest rate", "", "", "", "", why]
    least = "at least " if verdict.is_lower_bound(measured, report.p95_limit_ms / 1000) else ""
    ready = f" ({_rate(knee.ready.per_second)} ready/s)" if knee.ready else ""
    cpu = sum(knee.cost_ms(report.idle).values())
    return [
        measured.name,
        f"{least}{_rate(knee.rate)}/s{ready}",
        *_latency(knee.latency).split(" | "),
        f"{cpu:.2f}" if cpu else UNSEEN,
        why,
    ]


def _latency(of: Quantiles) -> str:
    return " | ".join(
        f"{value:.1f}" if value < 100 else f"{value:.0f}" for value in (of.p50, of.p95, of.p99)
    )


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _put(path: Path, content: str) -> None:
    draft = path.with_name(path.name + ".draft")
    draft.write_text(content, encoding="utf-8")
    os.replace(draft, path)  # noqa: PTH105 - the one that says what it does
