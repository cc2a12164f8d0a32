"""Real pictures through the real decoders, in confinement."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from sandbox_tools import AMPLE_SECONDS, PHOTOS, open_sandbox

from atelier.imaging.errors import BadPicture, NotAnImage, TooManyPixels
from atelier.imaging.recipe import Limits, Recipe, Rendition
from atelier.sandbox.sandbox import DecodeMemory, Sandbox
from tests.imaging.pictures import bmp, sampled, tiff, tiff_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 2**20
TARGET = "atelier.imaging.renditions:render"
WARM_UP = "atelier.imaging.warm:warm_up"
RECIPE = Recipe(("100x100", "500x500"), caption="Nürburg, 1927: «ἀρχή»")
ENCODINGS = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {"compress_level": 1}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("GIF", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_deflate"}),
    ("TIFF", {"compression": "jpeg"}),
]


def heic() -> bytes:
    """A photograph in tiles, as a phone writes it."""
    file = io.BytesIO()
    with Image.open(PHOTOS / "Landscape_1.jpg") as image:
        pillow_heif.from_pillow(image.resize((1024, 700))).save(file, tile_size=512)
    return file.getvalue()


ODD = {
    "heic": heic,
    "avif": lambda: picture("RGB", "AVIF", 600, speed=10),
    "jpeg without an end": lambda: picture("RGB", "JPEG", 600)[:-2],
    "jpeg of 4x2": lambda: sampled(4, 2),
    "cmyk jpeg without an end": lambda: picture("CMYK", "JPEG", 600)[:-2],
    "cielab": lambda: tiff(tiff_page(np.full((40, 50, 3), 90, np.uint8), 8)),
    "float": lambda: tiff(tiff_page(np.full((40, 50), 0.5, np.float32), 1)),
    "masks": lambda: bmp(32, (0xFF, 0xFF00, 0xFF0000), 0x3264C8),
}


def rendering(memory: int) -> Sandbox[list[Rendition]]:
    """A sandbox as the image processor opens it, with time for a busy machine."""
    return Sandbox(
        TARGET,
        list[Rendition],
        children=1,
        seconds=AMPLE_SECONDS,
        memory=memory,
        warm_up=WARM_UP,
        warm_up_args=(None,),
    )


@pytest.fixture(scope="module")
def renderer() -> Iterator[Sandbox[list[Rendition]]]:
    """One that has all the memory that a picture may need."""
    with rendering(1024 * MIB) as sandbox:
        yield sandbox


def picture(mode: str, form: str, width: int = 1800, **options: Any) -> bytes:
    """A photograph in some mode and form."""
    file = io.BytesIO()
    with Image.open(PHOTOS / "Landscape_1.jpg") as image:
        image.convert(mode).resize((width, width * 2 // 3)).save(file, form, **options)
    return file.getvalue()


def check(made: list[Rendition]) -> None:
    """All renditions are there and are pictures of the size that they claim."""
    assert [rendition.name for rendition in made] == ["100x100", "500x500", "gray", "captioned"]
    for rendition in made:
        with Image.open(io.BytesIO(rendition.data), formats=[rendition.format]) as image:
            assert image.size == (rendition.width, rendition.height)
            image.load()


@pytest.mark.parametrize("path", sorted(PHOTOS.glob("*_[168].jpg")), ids=lambda path: path.stem)
def test_photographs(renderer: Sandbox[list[Rendition]], path: Path) -> None:
    """Real photographs, upright and turned, are rendered in confinement."""
    check(renderer.call_sync(RECIPE, path.read_bytes(), Limits()))


@pytest.mark.parametrize(("form", "options"), ENCODINGS)
def test_every_format(
    renderer: Sandbox[list[Rendition]], form: str, options: dict[str, Any]
) -> None:
    """Every format is decoded in confinement: nothing needs what was given up."""
    check(renderer.call_sync(RECIPE, picture("RGB", form, **options), Limits()))


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("I;16", "PNG"),
        ("RGBA", "WEBP"),
        ("P", "GIF"),
        ("L", "TIFF"),
        ("RGBA", "TIFF"),
        ("CMYK", "TIFF"),
        ("1", "TIFF"),
        ("L", "BMP"),
    ],
)
def test_every_mode(renderer: Sandbox[list[Rendition]], mode: str, form: str) -> None:
    """So is every colour space and depth."""
    if mode == "I;16":
        file = io.BytesIO()
        Image.fromarray(
            np.linspace(0, 65_535, 600 * 400).astype(np.uint16).reshape(400, 600)
        ).save(file, form)
        data = file.getvalue()
    else:
        data = picture(mode, form, 600)
    check(renderer.call_sync(RECIPE, data, Limits()))


@pytest.mark.parametrize("odd", ODD)
def test_odd_pictures(renderer: Sandbox[list[Rendition]], odd: str) -> None:
    """So is what a first decoder refuses, or what needs another library than most pictures."""
    check(renderer.call_sync(RECIPE, ODD[odd](), Limits()))


def test_a_webp_of_more_pixels_than_libvips_keeps_in_memory(
    renderer: Sandbox[list[Rendition]],
) -> None:
    """Beyond 100 MiB of pixels nothing is put into a file, which is forbidden."""
    file = io.BytesIO()
    Image.new("RGB", (6000, 6000), (10, 90, 200)).save(file, "WEBP", method=0)
    check(renderer.call_sync(RECIPE, file.getvalue(), Limits()))


def test_colour_profile(renderer: Sandbox[list[Rendition]]) -> None:
    """A picture with a profile is converted in confinement."""
    with Image.open(PHOTOS / "Landscape_1.jpg") as image:
        before = renderer.call_sync(RECIPE, picture("RGB", "JPEG", 600), Limits())
        file = io.BytesIO()
        image.resize((600, 400)).save(file, "JPEG", icc_profile=linear_profile())
    made = renderer.call_sync(RECIPE, file.getvalue(), Limits())
    check(made)
    assert brightness(made[0]) > brightness(before[0]) + 20


def test_a_large_picture(renderer: Sandbox[list[Rendition]]) -> None:
    """Twelve megapixels of PNG stay within the memory and the filter."""
    check(renderer.call_sync(RECIPE, picture("RGB", "PNG", 4200, compress_level=1), Limits()))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_truncated_pictures_are_refused(
    renderer: Sandbox[list[Rendition]], form: str, keep: float
) -> None:
    """The verdict on a damaged file comes through as it was given."""
    data = picture("RGB", form, 600)
    with pytest.raises((BadPicture, NotAnImage)):
        renderer.call_sync(RECIPE, data[: int(len(data) * keep)], Limits())


def test_refusals_keep_their_kind(renderer: Sandbox[list[Rendition]]) -> None:
    """A file that is no picture and one that is too large are told apart."""
    with pytest.raises(NotAnImage):
        renderer.call_sync(RECIPE, b"no picture at all", Limits())
    with pytest.raises(TooManyPixels):
        renderer.call_sync(RECIPE, picture("RGB", "JPEG", 600), Limits(pixels=1000))


@pytest.mark.parametrize(
    ("form", "options"), [("JPEG", {}), ("PNG", {"compress_level": 1}), ("TIFF", {})]
)
def test_picture_that_needs_too_much_memory(form: str, options: dict[str, Any]) -> None:
    """A picture that does not fit into the memory says so, whichever decoder meets the limit.

    It is larger by far than the limit: up to a hundred mebibytes of address space that a thread's
    stack or arena had during the warm-up may be free again when the picture comes.
    """
    data = picture("RGB", form, 9000, **options)
    with rendering(16 * MIB) as sandbox, pytest.raises(DecodeMemory):
        sandbox.call_sync(RECIPE, data, Limits(pixels=10**8))


@pytest.mark.parametrize("name", ["pillow", "opencv", "simplejpeg", "libvips"])
def test_each_decoder_by_itself(name: str) -> None:
    """A library that was imported but not used before the confinement decodes a photograph."""
    photo = (PHOTOS / "waterfall_640x480.jpg").read_bytes()
    with open_sandbox("decode", list[int], warm_up="sandbox_targets:import_decoders") as sandbox:
        assert sandbox.call_sync(name, photo) == [640, 480]


def linear_profile() -> bytes:
    """Make an RGB profile with sRGB's primaries and no curve: its pixels are lighter in sRGB."""

    def tag(kind: bytes, body: bytes) -> bytes:
        return kind + bytes(4) + body

    def xyz(*values: float) -> bytes:
        return tag(
            b"XYZ ", b"".join(round(value * 65_536).to_bytes(4, signed=True) for value in values)
        )

    tags = {
        b"desc": tag(b"desc", (7).to_bytes(4) + b"linear\0" + bytes(78)),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        b"rTRC": tag(b"curv", bytes(4)),
        b"gTRC": tag(b"curv", bytes(4)),
        b"bTRC": tag(b"curv", bytes(4)),
    }
    place = 128 + 4 + 12 * len(tags)
    table, bodies = len(tags).to_bytes(4), b""
    for name, body in tags.items():
        table += name + (place + len(bodies)).to_bytes(4) + len(body).to_bytes(4)
        bodies += body + bytes(-len(body) % 4)
    size = place + len(bodies)
    header = (
        size.to_bytes(4)
        + bytes(4)
        + b"\x02\x40\x00\x00mntrRGB XYZ "
        + bytes(12)
        + b"acsp"
        + bytes(28)
    )
    header += b"".join(round(value * 65_536).to_bytes(4) for value in (0.9642, 1.0, 0.8249))
    return header.ljust(128, b"\0") + table + bodies


def brightness(rendition: Rendition) -> float:
    """The mean of all samples."""
    with Image.open(io.BytesIO(rendition.data)) as image:
        return float(np.asarray(image).mean())
