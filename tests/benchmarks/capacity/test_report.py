"""The report's plots are XML, its links lead to them, its numbers are those measured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import msgspec
import pytest

from benchmarks.capacity import plot, report
from benchmarks.capacity.results import (
    Machine,
    Measured,
    Quantiles,
    Ready,
    Report,
    Trial,
    Usage,
    quantiles,
)

if TYPE_CHECKING:
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"


def trial(rate: float, *, broken: str = "", ready: Ready | None = None) -> Trial:
    latency = Quantiles(rate / 10, rate / 5, rate / 4)
    usage = Usage(seconds=2, cores={"api": 0.5, "postgres": 0.3}, client=0.2)
    return Trial(
        rate, 2, int(2 * rate), rate, latency, 0.1, {"200": int(2 * rate)}, 0, ready, broken, usage
    )


def example() -> Report:
    held, broke = trial(400), trial(420, broken="p95 900 ms <&>")
    read = Measured(
        "read", "one record", [held, broke], held, certain=True, saturated=["`api`: one process"]
    )
    ready = trial(40, ready=Ready(38.5, Quantiles(60, 90, 120), 3))
    upload = Measured(
        "upload",
        "a picture",
        [ready],
        ready,
        certain=False,
        saturated=[],
        ended="the time was used up",
    )
    nothing = Measured(
        "mix", "a blend", [trial(1, broken="p95 300 ms")], None, certain=False, saturated=[]
    )
    empty = Measured("take", "cut off", [], None, certain=False, saturated=[])
    machine = Machine(
        2,
        "A processor",
        4.0,
        "Linux 6",
        "CPython 3.11",
        {"uvicorn": "1"},
        0.05,
        {"api": 1},
        {"sizes": "9x9"},
    )
    operations = [read, upload, nothing, empty]
    return Report(
        "http://127.0.0.1:1",
        "1.0",
        "2026-01-01T00:00:00+00:00",
        9,
        250,
        2000,
        80_000,
        machine,
        operations,
    )


def test_the_report_is_whole(tmp_path: Path) -> None:
    """The page's links lead to SVG plots with a title, and the JSON holds the same report."""
    made = example()
    report.write(made, tmp_path)
    text = (tmp_path / "capacity.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) == len(made.operations)
    for link in links:
        root = ET.parse(tmp_path / link).getroot()  # noqa: S314 - our own
        assert root.tag == f"{SVG}svg"
        assert root.find(f"{SVG}title") is not None
    assert msgspec.json.decode((tmp_path / "capacity.json").read_bytes(), type=Report) == made
    assert not list(tmp_path.glob("*.draft"))


def test_the_table_says_what_was_measured() -> None:
    """Each operation has a row: its knee, a lower bound marked as one, or that there is none."""
    rows = {row.split("|")[1].strip(): row for row in report.table(example()).splitlines()[2:]}
    assert rows["read"] == "| read | 400/s | 40.0 | 80.0 | 100 | 2.00 | `api`: one process |"
    assert "at least 40.0/s (38.5 ready/s)" in rows["upload"]
    assert "not even the lowest rate" in rows["mix"]
    assert all(row.count("|") == 8 for row in rows.values())


def test_the_terminal_shows_only_what_was_measured() -> None:
    """Where no rate held there is no figure, and a server that cannot be seen has no cost."""
    made = example()
    made.seconds, made.measuring_seconds = 47, 30.4
    held = made.operations[0].knee
    assert held
    unseen = msgspec.structs.replace(held, usage=Usage())
    trials = [unseen, trial(420, broken="p95 900 ms")]
    made.operations.append(Measured("list", "a page", trials, unseen, certain=True, saturated=[]))
    made.operations[2].saturated = ["the disk"]
    made.operations[3].ended = "the time was used up"
    least = "at least 40.0/s (38.5 ready/s)"
    assert report.text(made).splitlines() == [
        "p95 within 250 ms, uploads ready within 2000 ms:",
        (
            f"  read         {'400/s':>34}   p50/p95/p99 40.0 / 80.0 / 100 ms, server 2.00 ms CPU "
            "each"
        ),
        "               api: one process",
        f"  upload       {least:>34}   p50/p95/p99 4.0 / 8.0 / 10.0 ms, server 20.00 ms CPU each",
        f"  mix          {'not even the lowest rate':>34}",
        "               the disk",
        f"  take         {'not measured':>34}",
        "               the time was used up",
        f"  list         {'400/s':>34}   p50/p95/p99 40.0 / 80.0 / 100 ms",
        "the run took 47 s: 30 s of measuring, 17 s of preparing and cleaning up",
    ]


@pytest.mark.parametrize("values", [[], [0.0], [1e-9], [3, 3, 3], [1, 1e9], [0.02, 0.5, 70]])
def test_any_values_can_be_drawn(values: list[float]) -> None:
    """Whatever was measured: a mark for each rate, hollow where it broke, and the knee is told."""
    trials = [
        Trial(
            rate,
            1,
            1,
            value,
            Quantiles(value, value, value),
            0,
            {},
            0,
            broken="" if held else "p95",
        )
        for held, (rate, value) in enumerate(zip(range(1, len(values) + 1), values, strict=True))
    ]
    knee = trials[-1] if trials else None
    measured = Measured("a <name> & more", "about", trials, knee, certain=True, saturated=[])
    root = ET.fromstring(plot.svg(measured, 250))  # noqa: S314 - our own
    assert root.find(f"{SVG}title") is not None
    marks = [
        use.get("style", "")
        for use in root.iter(f"{SVG}use")
        if "stroke: #" in use.get("style", "")
    ]
    drawn = [style for style in marks if any(colour in style for colour in plot.COLOURS)]
    assert len(drawn) == 4 * len(values)
    assert len([style for style in drawn if "fill: #ffffff" in style]) == 4 * min(1, len(values))
    assert ("knee" in "".join(root.itertext())) == bool(values)


def test_the_same_figures_make_the_same_plot() -> None:
    """Nothing of the moment is in a plot: made again, it differs where a figure does."""
    measured = example().operations[0]
    assert plot.svg(measured, 250) == plot.svg(measured, 250)


def test_quantiles_are_by_nearest_rank() -> None:
    """Of a hundred values the p95 is the ninety-fifth, in milliseconds; of none it is zero."""
    assert quantiles([number / 1000 for number in range(100, 0, -1)]) == Quantiles(50, 95, 99)
    assert quantiles([]) == Quantiles(0, 0, 0)
