"""The magic number against its definition."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atelier.imaging.magic import magic_number


def definition(pixels: np.ndarray[Any, Any]) -> tuple[float, ...]:
    """The sample's own loop, with integers that do not overflow and one division at the end."""
    rows, columns = pixels.shape[:2]
    total = [0] * (pixels.shape[2] if pixels.ndim == 3 else 1)
    for x in range(rows):
        for y in range(columns):
            for channel, value in enumerate(np.atleast_1d(pixels[x, y])):
                total[channel] += (x + 1) * (y + 1) * int(value)
    return tuple(float(Fraction(value, rows * columns)) for value in total)


@settings(max_examples=60)
@given(
    rows=st.integers(1, 140),
    columns=st.integers(1, 12),
    channels=st.sampled_from([None, 1, 2, 3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_equals_its_definition(
    rows: int, columns: int, channels: int | None, seed: int
) -> None:
    """Whatever the shape, the result is bit-equal to the loop of the definition."""
    shape = (rows, columns) if channels is None else (rows, columns, channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    assert magic_number(pixels) == definition(pixels)


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 127, 128, 129])
def test_edges_of_the_blocks(rows: int) -> None:
    """A block more, a block less, a row more: nothing is counted twice or left out."""
    pixels = np.random.default_rng(rows).integers(0, 256, (rows, 5, 3), dtype=np.uint8)
    assert magic_number(pixels) == definition(pixels)


def test_channels_come_in_their_order_and_grey_is_one_value() -> None:
    """Colour gives one number per channel, grey gives one."""
    red = np.zeros((2, 3, 3), np.uint8)
    red[..., 0] = 6
    assert magic_number(red) == (6 * 3 * 6 / 6, 0.0, 0.0)
    assert magic_number(red[..., 0]) == (18.0,)


@pytest.mark.parametrize(
    ("rows", "columns"), [(3_500, 3_500), (7_000, 7_100), (65_000, 760), (760, 65_000)]
)
def test_white_pictures_of_any_size_are_exact(rows: int, columns: int) -> None:
    """Where float64 would round, the sum is still that of integers."""
    expected = Fraction(
        255 * (rows * (rows + 1) // 2) * (columns * (columns + 1) // 2), rows * columns
    )
    assert magic_number(np.full((rows, columns), 255, np.uint8)) == (float(expected),)


def test_a_view_with_gaps_counts_what_it_shows() -> None:
    """Strides do not matter."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, 9, 3), dtype=np.uint8)
    assert magic_number(pixels[::2, ::-1]) == definition(pixels[::2, ::-1])


@pytest.mark.parametrize(
    "pixels", [np.zeros((0, 5), np.uint8), np.zeros((2, 2)), np.zeros(4, np.uint8)]
)
def test_what_is_no_picture_has_none(pixels: np.ndarray[Any, Any]) -> None:
    """Only 8-bit pixels in rows and columns have a magic number."""
    with pytest.raises(ValueError, match="8-bit"):
        magic_number(pixels)
