"""Classify's transform against its definition."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from atelier.imaging import BadPicture, Limits, NotAnImage, TooManyPixels
from atelier.imaging.magic import magic_number
from atelier.imaging.transform import transform
from tests.imaging.pictures import (
    WATERFALL,
    deep,
    exif,
    opened,
    photo,
    pixels,
    png_header,
    saved,
    waterfall,
)


def naive(data: bytes, *, rotate: bool, resize: bool) -> Image.Image:
    """The definition, by Pillow: upright, a quarter turn counter-clockwise, half of each side."""
    image = ImageOps.exif_transpose(opened(data))
    image = image if image.mode in ("L", "RGB") else image.convert("RGB")
    if rotate:
        image = image.transpose(Image.Transpose.ROTATE_90)
    if resize:
        image = image.resize(
            (max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.LANCZOS
        )
    return image


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("resize", [True, False])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_does_what_the_definition_says(orientation: int, *, rotate: bool, resize: bool) -> None:
    """Each of the two steps can be left out, and the EXIF orientation is applied first."""
    data = saved(waterfall(size=(320, 240)), "JPEG", quality=95, exif=exif({274: orientation}))
    jpeg, magic = transform(data, rotate=rotate, resize=resize)
    expected = naive(data, rotate=rotate, resize=resize)
    found = opened(jpeg)
    assert (found.format, found.size, found.mode) == ("JPEG", expected.size, "RGB")
    assert np.abs(pixels(jpeg) - np.asarray(expected)).mean() < 8
    assert magic == pytest.approx(magic_number(np.asarray(expected)), rel=0.01)
    assert len(magic) == 3


@pytest.mark.parametrize(
    "name", ["Landscape_0", "Landscape_6", "Portrait_7", "Portrait_8", "Portrait_3"]
)
def test_photographs_come_out_as_defined(name: str) -> None:
    """Real photographs in real orientations."""
    jpeg, _ = transform(photo(name))
    assert (
        np.abs(pixels(jpeg) - np.asarray(naive(photo(name), rotate=True, resize=True))).mean() < 8
    )


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_without_steps_the_magic_number_is_that_of_the_pixels(kind: str) -> None:
    """Of a lossless picture the magic number is exact."""
    for mode in ("RGB", "L"):
        image = waterfall(mode, (101, 67))
        _, magic = transform(saved(image, kind), rotate=False, resize=False)
        assert magic == magic_number(np.asarray(image))
        _, magic = transform(saved(image, kind), resize=False)
        assert magic == magic_number(np.rot90(np.asarray(image)))


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (2, 1), (3, 3), (1, 77), (77, 1), (5, 8), (17, 33)]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_odd_sides_round_down_and_never_vanish(size: tuple[int, int], kind: str) -> None:
    """Half of an odd side is rounded down; a side of one pixel stays."""
    for mode in ("RGB", "L"):
        jpeg, magic = transform(saved(waterfall(mode, size), kind))
        assert opened(jpeg).size == (max(1, size[1] // 2), max(1, size[0] // 2))
        assert len(magic) == len(mode)


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (saved(waterfall("L"), "JPEG"), 1),
        (saved(waterfall("CMYK"), "JPEG"), 3),
        (saved(waterfall("P")), 3),
        (saved(waterfall("LA")), 1),
        (saved(waterfall("RGBA")), 3),
        (saved(deep()), 1),
    ],
    ids=["grey", "cmyk", "palette", "grey alpha", "alpha", "16 bit"],
)
def test_every_mode_becomes_a_jpeg_of_grey_or_rgb(data: bytes, values: int) -> None:
    """CMYK, palettes, alpha and 16 bits all end as what a JPEG can hold."""
    jpeg, magic = transform(data)
    assert opened(jpeg).mode == ("L" if values == 1 else "RGB")
    assert len(magic) == values


def test_transparent_pictures_are_laid_on_white() -> None:
    """Transparent pixels are white, whatever colour hides below."""
    jpeg, _ = transform(saved(Image.new("RGBA", (20, 20), (255, 0, 0, 0))))
    assert pixels(jpeg).min() > 250


def test_metadata_does_not_travel() -> None:
    """The JPEG that is sent holds pixels only."""
    data = saved(waterfall(), "JPEG", exif=exif({271: "Zenit"}, gps={1: "N", 2: (1.0, 2.0, 3.0)}))
    assert not Image.open(io.BytesIO(transform(data)[0])).getexif()


def test_its_refusals_are_those_of_rendering() -> None:
    """No image, too many pixels, half a picture."""
    with pytest.raises(NotAnImage):
        transform(b"<svg/>")
    with pytest.raises(TooManyPixels):
        transform(png_header(50_000, 50_000))
    with pytest.raises(TooManyPixels):
        transform(WATERFALL, limits=Limits(pixels=100))
    with pytest.raises(BadPicture):
        transform(WATERFALL[:40_000])
