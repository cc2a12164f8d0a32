"""Shrinking: exact sizes, and pictures that do not move."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from atelier.imaging.resize import Level, fit, shrink
from tests.imaging.pictures import photo


@pytest.mark.parametrize(
    "size", [(1800, 1200), (1799, 1199), (1537, 1021), (2049, 1367), (1203, 1801), (1023, 767)]
)
@pytest.mark.parametrize("box", [(500, 500), (100, 100), (64, 64)])
def test_the_cheap_way_down_is_near_the_best_one(
    size: tuple[int, int], box: tuple[int, int]
) -> None:
    """Averages and Lanczos give what Lanczos alone gives, unmoved, also for odd sides."""
    with Image.open(io.BytesIO(photo("Landscape_1"))) as image:
        source = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    target = fit(*size, box)
    small = shrink(Level.of(np.asarray(source)).down_to(target), target).astype(float)
    best = np.asarray(source.resize(target, Image.Resampling.LANCZOS)).astype(float)
    assert small.shape == best.shape
    assert np.abs(small - best).mean() < 2.5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (7, 1001), (1001, 7), (401, 403)])
def test_any_shape_shrinks_to_exactly_its_target(size: tuple[int, int], channels: int) -> None:
    """Whatever the sides, the result has the size asked for and the colour of an even picture."""
    even = np.full((size[1], size[0], channels), 77, np.uint8)
    for box in ((1, 1), (2, 2), (50, 50), (100, 400)):
        target = fit(*size, box)
        small = shrink(Level.of(even).down_to(target), target)
        assert small.shape == (target[1], target[0], channels)
        assert (small == 77).all()
