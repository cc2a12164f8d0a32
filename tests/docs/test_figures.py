"""Pages with figures: what they say is what the measurements and the stated assumptions say."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from benchmarks.capacity import pages, scaling, sweep
from benchmarks.capacity.blocks import BLOCK, filled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("page", "made"),
    [(pages.PAGE, lambda: pages.made(sweep.kept())), (scaling.PAGE, scaling.made)],
    ids=["capacity", "scaling"],
)
def test_pages_and_figures_never_part(page: Path, made: Callable[[], dict[str, str]]) -> None:
    """Every generated block of the page is what its script makes of the kept reports."""
    text, blocks = page.read_text(encoding="utf-8"), made()
    assert {name for _, name, _ in BLOCK.findall(text)} == set(blocks)
    assert filled(text, blocks) == text


def test_plots_are_kept_for_every_run() -> None:
    """Each operation of each kept report has its plot, and every plot is XML."""
    for cores, figures in sweep.kept().items():
        for measured in (each for run in figures.runs for each in run.operations):
            plot = pages.PLOTS / f"{cores}-{measured.name}.svg"
            assert ET.parse(plot).getroot().tag.endswith("svg")  # noqa: S314 - our own


@pytest.mark.parametrize(
    ("cores", "steps"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8])]
)
def test_the_cores_that_are_measured(cores: int, steps: list[int]) -> None:
    """One, two, four and so on while one is left for the client, and all."""
    assert sweep.steps(cores) == steps


def test_the_arithmetic_of_scaling() -> None:
    """The events and writes of `mix` and the rate of a million daily users are as by hand."""
    assert scaling._per_request(scaling.EVENTS) == pytest.approx(0.04 * 2 + 0.04 + 0.03 + 0.01 * 2)
    asked = scaling.Demand(1e6)
    assert asked.rate == pytest.approx(1736.1, rel=1e-4)
    assert asked.uploads == pytest.approx(69.4, rel=1e-3)
    assert asked.pictures_a_month == pytest.approx(60e6)
