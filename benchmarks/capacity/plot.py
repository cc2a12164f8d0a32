"""The plot of an operation, drawn by matplotlib as SVG: latency and throughput over the rate."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmarks.capacity.results import Measured, Trial

STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "font.size": 8,
    "grid.color": "#d0d7de",
    "grid.linewidth": 0.6,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "lines.markersize": 4,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",  # text stays text: smaller, and it can be searched
    "svg.hashsalt": "capacity",  # the same figures make the same file
}
INCHES = (8.4, 2.9)
COLOURS = ("#0969da", "#bf3989", "#1a7f37")
LIMIT, KNEE = "#9a6700", "#6e7781"
LEAST_MS = 0.01
"""A logarithmic axis has no zero: what is faster is drawn here."""

TICKS = 6
"""Of the rate, at most: more would run into each other."""

TEN = 10
"""From here on ticks are whole numbers."""


def svg(measured: Measured, p95_limit_ms: float) -> str:
    """The plot as a document. Rates that broke have hollow marks."""
    trials = sorted(measured.trials, key=lambda each: each.rate)
    with rc_context(STYLE):
        figure = Figure(figsize=INCHES)
        latency, throughput = figure.subplots(1, 2)
        _latency(latency, trials, p95_limit_ms)
        _throughput(throughput, trials)
        for axes in (latency, throughput):
            _finish(axes, measured)
        drawn = io.StringIO()
        title = f"{measured.name}: latency and throughput over the offered rate"
        figure.savefig(
            drawn, format="svg", metadata={"Title": title, "Date": None, "Creator": None}
        )
    return "\n".join(line.rstrip() for line in drawn.getvalue().splitlines()) + "\n"


def _latency(axes: Axes, trials: Sequence[Trial], p95_limit_ms: float) -> None:
    axes.set(title="latency", ylabel="milliseconds", yscale="log")
    for name, colour in zip(("p50", "p95", "p99"), COLOURS, strict=True):
        values = [max(getattr(trial.latency, name), LEAST_MS) for trial in trials]
        _line(axes, name, colour, trials, values)
    axes.axhline(p95_limit_ms, color=LIMIT, linestyle="--", linewidth=1)
    axes.annotate(
        f"limit {p95_limit_ms:g}",
        (0, p95_limit_ms),
        xycoords=("axes fraction", "data"),
        xytext=(4, 3),
        textcoords="offset points",
        color=LIMIT,
    )


def _throughput(axes: Axes, trials: Sequence[Trial]) -> None:
    axes.set(title="throughput", ylabel="per second")
    _line(axes, "good answers", COLOURS[0], trials, [trial.achieved for trial in trials])
    followed = [(trial, trial.ready.per_second) for trial in trials if trial.ready]
    if followed:
        _line(
            axes,
            "ready",
            COLOURS[1],
            [trial for trial, _ in followed],
            [made for _, made in followed],
        )
    top = max((trial.rate for trial in trials), default=1.0)
    axes.plot([0, top], [0, top], color=LIMIT, linestyle="--", linewidth=1, label="as offered")
    axes.set_ylim(bottom=0)


def _line(
    axes: Axes, name: str, colour: str, trials: Sequence[Trial], values: Sequence[float]
) -> None:
    rates = [trial.rate for trial in trials]
    axes.plot(rates, values, color=colour, label=name)
    fill = [colour if not trial.broken else "white" for trial in trials]
    axes.scatter(rates, values, s=14, color=fill, edgecolors=colour, zorder=3)


def _finish(axes: Axes, measured: Measured) -> None:
    """Shared by both plots: the rate below, the knee across, a legend."""
    axes.set(xlabel="offered, requests/s")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(TICKS))
    axes.set_title(f"{measured.name}: {axes.get_title(loc='left')}", loc="left")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_number))
    if measured.knee:
        axes.axvline(
            measured.knee.rate,
            color=KNEE,
            linestyle=":",
            linewidth=1.2,
            label=f"knee {_number(measured.knee.rate, 0)}",
        )
    axes.legend(loc="best")


def _number(value: float, _: int | None) -> str:
    """Few digits, no exponent."""
    return f"{value:,.0f}" if value >= TEN else f"{value:.3g}"
