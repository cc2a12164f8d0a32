"""HEIC and AVIF: what their boxes say, and what is shown of them."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageOps

from atelier.imaging import BadPicture, NotAnImage, Recipe, TooManyPixels, probe
from atelier.imaging.heif import avif
from atelier.imaging.identify.boxes import _part
from atelier.imaging.identify.headers import read_header
from atelier.imaging.recipe import Limits
from atelier.imaging.renditions import render
from atelier.imaging.transform import transform
from tests.imaging.pictures import exif, opened, pixels, saved, waterfall

SIZE = (160, 120)
FULL = Recipe((), caption="x", gray=False)
P3 = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + b"odd"


def heic(image: Image.Image, block: Image.Exif | None = None, **options: Any) -> bytes:
    """A HEIC of an image as it lies, which its boxes turn as the EXIF block says."""
    buffer = io.BytesIO()
    file = pillow_heif.from_pillow(image)
    if block is not None:
        file.info["exif"] = block.tobytes()
    file.save(buffer, quality=90, **options)
    return buffer.getvalue()


def made(kind: str, orientation: int = 1, mode: str = "RGB", **options: Any) -> bytes:
    """The waterfall in one of the formats; EXIF has a camera, and boxes the orientation."""
    image = waterfall(mode, SIZE)
    block = exif({274: orientation, 271: "Zenit"})
    if kind == "AVIF":
        return saved(image, "AVIF", quality=90, speed=10, exif=block, **options)
    return heic(image, block, **options)


KINDS = ("HEIC", "AVIF")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_once(kind: str, orientation: int) -> None:
    """Size and renditions are upright, for classify, too; EXIF's orientation does not count."""
    data = made(kind, orientation)
    found = probe(data)
    stored = Image.new("RGB", SIZE)
    stored.getexif()[274] = orientation
    assert (found.width, found.height) == ImageOps.exif_transpose(stored).size
    assert (found.format, found.media_type) == (kind, f"image/{kind.lower()}")
    assert found.orientation == orientation
    assert found.metadata["exif"] == {"make": "Zenit"}
    source = waterfall("RGB", SIZE)
    source.getexif()[274] = orientation
    upright = ImageOps.exif_transpose(source)
    (shown,) = render(FULL, data)
    assert np.abs(pixels(shown.data)[: upright.height] - np.asarray(upright)).mean() < 12
    sent = opened(transform(data, rotate=False, resize=False)[0])
    assert np.abs(np.asarray(sent).astype(int) - np.asarray(upright)).mean() < 12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_every_mode_is_shown(kind: str, mode: str) -> None:
    """Grey, colour and opacity come out as they are, and are told beforehand."""
    data = made(kind, mode=mode)
    assert probe(data).metadata["mode"] == mode
    (shown,) = render(Recipe(("160x120",), gray=False), data)
    assert opened(shown.data).mode == mode
    expected = np.asarray(waterfall(mode, SIZE).convert("RGBA")).astype(int)
    visible = expected[..., 3] > 40
    difference = np.abs(pixels(shown.data, "RGBA") - expected)[visible]
    assert difference.mean() < 12


def test_a_picture_of_tiles_is_one_picture() -> None:
    """A grid, as phones write it, has the size of the whole, and the profile of its tiles."""
    image = waterfall("RGB", (200, 150))
    image.info["icc_profile"] = P3
    data = heic(image, tile_size=64)
    assert read_header(data).icc == P3
    assert (probe(data).width, probe(data).height) == (200, 150)
    (shown,) = render(Recipe(("200x150",), gray=False), data)
    assert np.abs(pixels(shown.data) - np.asarray(waterfall("RGB", (200, 150)))).mean() < 12


@pytest.mark.parametrize("size", [(3, 5), (31, 17), (63, 65)])
@pytest.mark.parametrize("kind", KINDS)
def test_small_and_odd_sizes_are_cropped_as_they_say(size: tuple[int, int], kind: str) -> None:
    """A picture below its codec's smallest block says which part of it is shown."""
    image = waterfall("RGB", size)
    data = heic(image) if kind == "HEIC" else saved(image, "AVIF")
    assert (probe(data).width, probe(data).height) == size
    (shown,) = render(Recipe(("500x500",), gray=False), data)
    assert (shown.width, shown.height) == size


def test_ten_bits_are_told_and_shown() -> None:
    """More than eight bits a sample are brought to eight."""
    samples = (np.asarray(waterfall("RGB", SIZE)).astype(np.uint16) << 8).tobytes()
    buffer = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", SIZE, samples).save(buffer, quality=90)
    assert probe(buffer.getvalue()).metadata["bit_depth"] == 10
    (shown,) = render(Recipe(("160x120",), gray=False), buffer.getvalue())
    assert np.abs(pixels(shown.data) - np.asarray(waterfall("RGB", SIZE))).mean() < 12


def test_frames_of_an_animation_are_counted() -> None:
    """An animated AVIF is shown by its first frame."""
    frames = [Image.new("RGB", SIZE, colour) for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    data = saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], speed=10)
    assert probe(data).frames == 3
    (shown,) = render(Recipe(("160x120",), gray=False), data)
    assert pixels(shown.data)[60, 80, 0] > 180


def test_an_avif_is_cropped_before_it_is_turned() -> None:
    """A clean aperture is a part of the picture as it is stored."""
    data = made("AVIF", 6)
    header = read_header(data)
    part = replace(header, width=50, height=40, tags={**header.tags, "left": 20, "top": 30})
    assert (avif(data, part) == avif(data, header)[30:70, 20:70]).all()


@pytest.mark.parametrize(
    ("side", "size", "offset", "expected"),
    [
        (64, (32, 1), (-16, 1), (0, 32)),
        (64, (64, 1), (0, 1), (0, 64)),
        (64, (10, 1), (0, 1), (27, 10)),
        (64, (21, 2), (0, 1), (26, 11)),
        (64, (200, 1), (0, 1), (0, 64)),
        (64, (10, 1), (1000, 1), (64, 0)),
        (64, (10, 1), (-1000, 1), (0, 0)),
    ],
)
def test_a_crop_lies_within_the_picture(
    side: int, size: tuple[int, int], offset: tuple[int, int], expected: tuple[int, int]
) -> None:
    """Sizes and offsets from the centre are fractions of pixels, and strangers' words."""
    assert _part(side, size, offset) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.1, 0.3, 0.6, 0.95])
def test_half_a_picture_is_none(kind: str, part: float) -> None:
    """A file that is cut off is refused."""
    data = made(kind)
    with pytest.raises((BadPicture, NotAnImage)):
        render(FULL, data[: int(len(data) * part)])


@pytest.mark.parametrize("kind", KINDS)
def test_the_limits_hold_before_anything_is_decoded(kind: str) -> None:
    """A size beyond the limit is refused, whatever is behind it."""
    data = made(kind)
    with pytest.raises(TooManyPixels):
        probe(data, Limits(pixels=100))
    place = data.index(b"ispe") + 8
    for size in ((60_000, 60_000), (70_000, 2)):
        with pytest.raises(TooManyPixels):
            probe(data[:place] + struct.pack(">II", *size) + data[place + 8 :])


def test_other_files_of_boxes_are_no_pictures() -> None:
    """A film, and a picture by a codec that is not decoded here."""
    with pytest.raises(NotAnImage):
        probe(b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(100))
    with pytest.raises(NotAnImage, match="neither HEVC nor AV1"):
        probe(made("HEIC").replace(b"hvc1", b"vvc1"))
    with pytest.raises(NotAnImage, match="without a picture"):
        probe(b"\0\0\0\x14ftypheic\0\0\0\0mif1" + bytes(16))
