"""Plots as SVG, written by hand: two axes, lines, marks, words; readable on a light and on a dark page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 380, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 34, 44
COLOURS = ("a", "b", "c")

STYLE = """<style>
text { font: 11px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 12px; }
.axis { stroke: #6e7781; stroke-width: 1; fill: none; }
.grid { stroke: #d0d7de; stroke-width: .6; }
.limit { stroke: #9a6700; stroke-dasharray: 5 3; stroke-width: 1; fill: none; }
.knee { stroke: #6e7781; stroke-dasharray: 2 3; stroke-width: 1.2; fill: none; }
.a { stroke: #0969da; fill: #0969da; } .b { stroke: #bf3989; fill: #bf3989; } .c { stroke: #1a7f37; fill: #1a7f37; }
path.a, path.b, path.c { fill: none; stroke-width: 1.6; }
text.a, text.b, text.c { stroke: none; }
.broken { fill: none; stroke-width: 1.4; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .axis, .knee { stroke: #8b949e; } .grid { stroke: #30363d; } .limit { stroke: #d29922; }
  .a { stroke: #58a6ff; fill: #58a6ff; } .b { stroke: #f778ba; fill: #f778ba; } .c { stroke: #3fb950; fill: #3fb950; }
}
</style>"""


@dataclass(frozen=True, slots=True)
class Line:
    """Points (x, y, held) joined by a line; what did not hold is drawn hollow. Without marks it is a reference."""

    name: str
    points: list[tuple[float, float, bool]]
    marks: bool = True


@dataclass(frozen=True, slots=True)
class Plot:
    """One pair of axes. `limit` is a level of y, `knee` a place on x."""

    title: str
    x: str
    y: str
    lines: list[Line]
    limit: float | None = None
    knee: float | None = None
    logarithmic: bool = False


class Scale:
    """From values to pixels, with round ticks."""

    def __init__(self, low: float, high: float, start: float, end: float, *, logarithmic: bool) -> None:
        self._log = logarithmic
        if logarithmic:
            first, last = math.floor(math.log10(max(low, 1e-3))), math.ceil(math.log10(max(high, 1e-2)))
            last = max(last, first + 1)
            self._low, self._high = float(first), float(last)
            self.ticks = [10.0**power for power in range(first, last + 1)]
        else:
            step = _step(max(high, 1e-9) / 5)
            count = max(1, math.ceil(high / step))
            self._low, self._high = 0.0, step * count
            self.ticks = [step * number for number in range(count + 1)]
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        """The pixel of a value, to a tenth; what lies outside is drawn at the edge."""
        at = math.log10(max(value, 10.0**self._low)) if self._log else value
        share = (at - self._low) / (self._high - self._low)
        return round(self._start + min(max(share, 0.0), 1.0) * (self._end - self._start), 1)


def figure(plots: list[Plot], description: str) -> str:
    """Plots side by side, as one document."""
    width = WIDTH * len(plots)
    drawn = [f'<g transform="translate({WIDTH * number} 0)">{_plot(plot)}</g>' for number, plot in enumerate(plots)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
        f'role="img"><title>{escape(description)}</title>'
    )
    return "\n".join([head, STYLE, *drawn, "</svg>", ""])


def _plot(plot: Plot) -> str:
    points = [point for line in plot.lines for point in line.points]
    tops = [y for _, y, _ in points] + ([plot.limit] if plot.limit else [])
    x = Scale(0, max((x for x, _, _ in points), default=1) * 1.02, LEFT, WIDTH - RIGHT, logarithmic=False)
    lows = [y for _, y, _ in points if y > 0]
    y = Scale(min(lows, default=1), max(tops, default=1), HEIGHT - BOTTOM, TOP, logarithmic=plot.logarithmic)
    parts = [_axes(plot, x, y), *_references(plot, x, y)]
    parts += [_line(line, COLOURS[number % 3], x, y) for number, line in enumerate(plot.lines)]
    parts += [_legend(plot.lines)]
    return "\n".join(parts)


def _axes(plot: Plot, x: Scale, y: Scale) -> str:
    low, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [_text(LEFT, 16, plot.title, "title")]
    for tick in y.ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick)}H{right}"/>')
        parts.append(_text(LEFT - 6, y(tick) + 4, number(tick), anchor="end"))
    parts += [_text(x(tick), low + 15, number(tick), anchor="middle") for tick in x.ticks]
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{low}H{right}"/>')
    parts.append(_text((LEFT + right) / 2, HEIGHT - 10, plot.x, anchor="middle"))
    middle = (TOP + low) / 2
    parts.append(
        f'<text x="13" y="{middle}" text-anchor="middle" transform="rotate(-90 13 {middle})">{escape(plot.y)}</text>'
    )
    return "\n".join(parts)


def _references(plot: Plot, x: Scale, y: Scale) -> list[str]:
    parts = []
    if plot.limit:
        parts.append(f'<path class="limit" d="M{LEFT} {y(plot.limit)}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT + 4, y(plot.limit) - 4, f"limit {number(plot.limit)}"))
    if plot.knee:
        parts.append(f'<path class="knee" d="M{x(plot.knee)} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(_text(x(plot.knee) - 4, HEIGHT - BOTTOM - 6, f"knee {number(plot.knee)}", anchor="end"))
    return parts


def _line(line: Line, colour: str, x: Scale, y: Scale) -> str:
    points = sorted(line.points)
    path = "L".join(f"{x(across)} {y(up)}" for across, up, _ in points)
    parts = [f'<path class="{colour if line.marks else "limit"}" d="M{path}"/>'] if points else []
    for across, up, held in points if line.marks else []:
        kind = colour if held else f"{colour} broken"
        parts.append(f'<circle class="{kind}" cx="{x(across)}" cy="{y(up)}" r="3"/>')
    return "\n".join(parts)


def _legend(lines: list[Line]) -> str:
    parts, at = [], LEFT
    for place, line in enumerate(lines):
        if line.marks:
            parts.append(_text(at, 29, line.name, COLOURS[place % 3]))
            at += 12 + 6 * len(line.name)
    return "\n".join(parts)


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    chosen = f' class="{kind}"' if kind else ""
    return f'<text{chosen} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def number(value: float) -> str:
    """A number for a tick: few digits, no exponent."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def _step(rough: float) -> float:
    """The round number (1, 2, 5 times a power of ten) at or above it."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * (1 - 1e-9))
