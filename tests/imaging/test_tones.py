"""TIFFs and bitmaps of unusual samples: the right tones, or a reason why there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from atelier.imaging import BadPicture, Recipe, probe
from atelier.imaging.renditions import render
from tests.imaging.pictures import bmp, opened, pixels, tiff, tiff_page

SIDES = (24, 32)
RAMP = np.linspace(0, 1, SIDES[1])[np.newaxis].repeat(SIDES[0], 0)
PLAIN = Recipe(("32x24",), gray=False)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, CIELAB = 0, 1, 2, 5, 8


def colours(*samples: Any, kind: str) -> np.ndarray[Any, Any]:
    return np.dstack([np.full(SIDES, sample) for sample in samples]).astype(kind)


def shown(data: bytes) -> np.ndarray[Any, np.dtype[np.int16]]:
    (made,) = render(PLAIN, data)
    return pixels(made.data)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "f2", "f4"])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO, RGB])
def test_a_ramp_is_a_ramp(kind: str, photometric: int) -> None:
    """From black to white in integers or floating-point numbers, of whichever width."""
    white = 1 if kind[0] == "f" else np.iinfo(kind).max
    samples = (RAMP * white).astype(kind)
    if photometric == RGB:
        samples = np.dstack([samples] * 3)
    right = (RAMP if photometric else 1 - RAMP) * 255
    found = shown(tiff(tiff_page(samples, photometric)))
    assert np.abs(found - right[..., np.newaxis]).max() < 6


@pytest.mark.parametrize(
    ("samples", "right"),
    [
        (colours(135, 0, 0, kind="u1"), (127, 127, 127)),
        (colours(135, 60, 226, kind="u1"), (204, 74, 180)),
        (colours(53 * 655, 0, 0, kind="u2"), (127, 127, 127)),
        (colours(53 * 655, 60 * 256, 226 * 256, kind="u2"), (200, 78, 179)),
    ],
    ids=["8 bits grey", "8 bits", "16 bits grey", "16 bits"],
)
def test_cielab_is_shown(samples: np.ndarray[Any, Any], right: tuple[int, ...]) -> None:
    """CIELAB of either depth, whose a* and b* are signed."""
    assert np.abs(shown(tiff(tiff_page(samples, CIELAB))) - right).max() < 12


@pytest.mark.parametrize(
    ("samples", "photometric", "reason"),
    [
        (RAMP.astype("f4") * 255, BLACK_IS_ZERO, "beyond 0"),
        (RAMP.astype("f4") - 0.5, BLACK_IS_ZERO, "beyond 0"),
        (RAMP.astype("f4") / 1e4, BLACK_IS_ZERO, "lighter than black"),
        (np.full(SIDES, np.inf, "f4"), BLACK_IS_ZERO, "beyond 0"),
        ((RAMP * 4095).astype("u4"), BLACK_IS_ZERO, "lighter than black"),
        ((RAMP * 127).astype("i1"), BLACK_IS_ZERO, "signed"),
        ((RAMP * 32767).astype("i2"), BLACK_IS_ZERO, "signed"),
        ((RAMP * 2**30).astype("i4"), BLACK_IS_ZERO, "signed"),
        (RAMP.astype("f8"), BLACK_IS_ZERO, "64 bits"),
        (colours(1, 0, 0, 0, kind="f4"), CMYK, "CMYK"),
        (colours(135, 128, 128, kind="u1"), 9, "ICC CIELAB"),
        ((RAMP * 65535).astype("u2"), 32803, "raw photograph"),
    ],
)
def test_tones_that_cannot_be_known_are_refused(
    samples: np.ndarray[Any, Any], photometric: int, reason: str
) -> None:
    """What would come out black, or as a negative, fails with its reason."""
    with pytest.raises(BadPicture, match=reason):
        render(PLAIN, tiff(tiff_page(samples, photometric)))


PREVIEW = tiff_page(np.full((3, 4), 90, np.uint8), BLACK_IS_ZERO, t254=1)
OLD_PREVIEW = tiff_page(np.full((3, 4), 90, np.uint8), BLACK_IS_ZERO, t255=2)
MASK = tiff_page(np.full((3, 4), 90, np.uint8), BLACK_IS_ZERO, t254=4)
PICTURE = tiff_page(colours(40, 80, 200, kind="u1"), RGB, t274=6)
RAW = tiff_page(np.full((60, 80), 90, np.uint16), 32803)


@pytest.mark.parametrize(
    "data",
    [
        tiff(PREVIEW, PICTURE),
        tiff(OLD_PREVIEW, MASK, PICTURE),
        tiff(PREVIEW, PICTURE, parts_of_first=1),
        tiff(PREVIEW, PREVIEW, PICTURE, parts_of_first=2),
        tiff(PICTURE, PREVIEW),
    ],
    ids=["page", "third page", "part", "second part", "first"],
)
def test_a_preview_is_not_the_picture(data: bytes) -> None:
    """Where the first directory is a reduced image, the full one is taken, as it lies."""
    found = probe(data)
    assert (found.width, found.height, found.orientation) == (24, 32, 6)
    upright = next(made for made in render(Recipe((), gray=False), data))
    assert opened(upright.data).size == (24, 32)
    assert np.abs(pixels(upright.data) - (40, 80, 200)).max() < 6


def test_a_raw_photograph_is_not_its_preview() -> None:
    """A preview stands for nothing that cannot be shown; alone it is the picture."""
    with pytest.raises(BadPicture, match="raw photograph"):
        probe(tiff(PREVIEW, RAW, parts_of_first=1))
    assert probe(tiff(PREVIEW)).width == 4


@pytest.mark.parametrize(
    ("bits", "masks", "value", "right"),
    [
        (32, (0xFF, 0xFF00, 0xFF0000), 0x3264C8, (200, 100, 50)),
        (32, (0xFF000000, 0xFF0000, 0xFF00), 0xC8643200, (200, 100, 50)),
        (32, (0x3FF00000, 0xFFC00, 0x3FF), (804 << 20) + (402 << 10) + 201, (200, 100, 50)),
        (16, (0xF800, 0x7E0, 0x1F), (24 << 11) + (25 << 5) + 6, (197, 101, 49)),
        (16, (0x1F, 0x7E0, 0xF800), (6 << 11) + (25 << 5) + 24, (197, 101, 49)),
        (16, (0xF00, 0xF0, 0xF), 0xC63, (204, 102, 51)),
        (16, (0x3, 0xC, 0x30), 0b010011, (255, 0, 85)),
        (32, (0xFF0000, 0, 0), 0xC80000, (200, 0, 0)),
    ],
)
@pytest.mark.parametrize("header", [40, 52, 56, 108])
def test_masks_of_a_bitmap_are_heeded(
    bits: int, masks: tuple[int, ...], value: int, right: tuple[int, ...], header: int
) -> None:
    """Any place and width of the colours, in headers of every length."""
    assert np.abs(shown(bmp(bits, masks, value, header)) - right).max() < 4


def test_opacity_of_a_bitmap_counts_where_there_is_any() -> None:
    """A mask for opacity makes a transparent picture, unless every pixel leaves it empty."""
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    (made,) = render(PLAIN, bmp(32, masks, 0x80C86432, 108))
    assert opened(made.data).getpixel((0, 0)) == (200, 100, 50, 128)
    (made,) = render(PLAIN, bmp(32, masks, 0x00C86432, 108))
    assert opened(made.data).mode == "RGB"


@pytest.mark.parametrize("masks", [(0, 0, 0), (0xF0F, 0xF0, 0xF000), (0x1F0000, 0x7E0, 0x1F)])
def test_masks_of_no_colours_are_refused(masks: tuple[int, ...]) -> None:
    """Masks that are empty, divided or outside of the pixel."""
    with pytest.raises(BadPicture, match="masks"):
        render(PLAIN, bmp(16, masks, 1))
