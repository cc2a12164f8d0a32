"""Rendering: every format, mode and orientation, and never half a picture."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from atelier.imaging import BadPicture, Limits, NotAnImage, Recipe, Rendition, TooManyPixels
from atelier.imaging.caption import caption_field
from atelier.imaging.renditions import parse_size, render
from atelier.imaging.transform import transform
from tests.imaging.pictures import (
    PHOTOS,
    SAMPLED_COLOUR,
    WATERFALL,
    after_start,
    chunk,
    deep,
    exif,
    opened,
    photo,
    pixels,
    png_header,
    sampled,
    saved,
    segment,
    waterfall,
    without_end,
)
from tests.waiting import PATIENCE_SECONDS

FULL = Recipe(
    ("100x100", "500x500"), caption="С начала фазы запрещающего сигнала прошло: 7 секунд"
)
PLAIN = Recipe(("100x100",))


def made(recipe: Recipe, picture: bytes) -> dict[str, Rendition]:
    """Render, and check what holds for all: size and format as said, nothing in it but pixels."""
    renditions = {rendition.name: rendition for rendition in render(recipe, picture)}
    for rendition in renditions.values():
        image = opened(rendition.data)
        assert (image.width, image.height, image.format) == (
            rendition.width,
            rendition.height,
            rendition.format,
        )
        assert not image.getexif()
        assert not {"exif", "xmp", "comment"} & set(image.info)
    return renditions


def test_a_photograph_gets_its_renditions() -> None:
    """The sizes come in the recipe's order, then grey, then captioned.

    The caption stands below the picture.
    """
    found = made(FULL, WATERFALL)
    assert list(found) == ["100x100", "500x500", "gray", "captioned"]
    sizes = {name: (rendition.width, rendition.height) for name, rendition in found.items()}
    field = caption_field(FULL.caption, 640, 12)
    assert sizes == {
        "100x100": (100, 75),
        "500x500": (500, 375),
        "gray": (640, 480),
        "captioned": (640, 480 + len(field)),
    }
    assert {rendition.format for rendition in found.values()} == {"JPEG"}
    assert opened(found["gray"].data).mode == "L"


@pytest.mark.parametrize("series", ["Landscape", "Portrait"])
def test_all_nine_of_a_series_come_out_alike(series: str) -> None:
    """Every orientation gives the same upright pictures, in every rendition."""
    first = made(FULL, photo(f"{series}_1"))
    for number in (0, *range(2, 9)):
        other = made(FULL, photo(f"{series}_{number}"))
        assert {n: (r.width, r.height) for n, r in other.items()} == {
            n: (r.width, r.height) for n, r in first.items()
        }
        for name, rendition in other.items():
            difference = np.abs(pixels(rendition.data) - pixels(first[name].data))
            assert difference.mean() < 6, (number, name)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_exactly(orientation: int, kind: str) -> None:
    """A lossless sideways picture gives what Pillow's transposition gives."""
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(waterfall("RGBA", (40, 30)), kind, exif=exif({274: orientation}), **options)
    expected = ImageOps.exif_transpose(opened(data))
    found = made(Recipe(("4000x4000",), gray=False), data)
    assert ("upright" in found) is (orientation != 1)
    for rendition in found.values():
        visible = np.asarray(expected)[..., 3] > 0
        assert (pixels(rendition.data, "RGBA")[visible] == np.asarray(expected)[visible]).all()


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ((640, 480), "100x100", (100, 75)),
        ((480, 640), "100x100", (75, 100)),
        ((640, 480), "640x480", (640, 480)),
        ((640, 480), "5000x5000", (640, 480)),
        ((100, 100), "500x500", (100, 100)),
        ((1, 1), "100x100", (1, 1)),
        ((1, 5000), "100x100", (1, 100)),
        ((5000, 1), "100x100", (100, 1)),
        ((5000, 3), "500x500", (500, 1)),
        ((3, 5000), "500x2", (1, 2)),
        ((1001, 751), "500x500", (500, 375)),
        ((1999, 1333), "100x100", (100, 67)),
        ((2003, 2001), "500x500", (500, 500)),
        ((640, 480), "1x1", (1, 1)),
        ((640, 480), "300x50", (67, 50)),
        ((640, 480), "641x479", (639, 479)),
    ],
)
def test_sizes_fit_inside_and_never_grow(
    size: tuple[int, int], box: str, expected: tuple[int, int]
) -> None:
    """A size is a box to fit into: the aspect is kept, no side is zero, nothing is enlarged."""
    for kind in ("JPEG", "PNG"):
        found = made(Recipe((box,)), saved(waterfall(size=size), kind))
        assert (found[box].width, found[box].height) == expected
        assert (found["gray"].width, found["gray"].height) == size


@pytest.mark.parametrize("name", ["200x200", "300x300", "900x900"])
def test_a_recipe_of_sizes_alone_gives_the_same_sizes(name: str) -> None:
    """Without grey a JPEG is decoded smaller; the outcome looks the same."""
    for picture in (
        photo("Portrait_1"),
        photo("Portrait_6"),
        saved(waterfall(size=(1999, 1333)), "JPEG"),
    ):
        alone, beside = (render(Recipe((name,), gray=gray), picture)[0] for gray in (False, True))
        assert (alone.width, alone.height) == (beside.width, beside.height)
        assert np.abs(pixels(alone.data) - pixels(beside.data)).mean() < 7


def jpeg_of_cmyk() -> bytes:
    return saved(waterfall("CMYK"), "JPEG", quality=95)


def opaque_rgba() -> Image.Image:
    image = waterfall("RGB").convert("RGBA")
    image.putalpha(255)
    return image


VARIANTS = {
    "progressive": (saved(waterfall(), "JPEG", progressive=True, quality=95), "RGB"),
    "4:4:4": (saved(waterfall(), "JPEG", subsampling=0, quality=95), "RGB"),
    "grey jpeg": (saved(waterfall("L"), "JPEG", quality=95), "L"),
    "cmyk jpeg": (jpeg_of_cmyk(), "RGB"),
    "palette png": (saved(waterfall("P")), "RGB"),
    "grey png": (saved(waterfall("L")), "L"),
    "16-bit png": (saved(deep()), "L"),
    "16-bit tiff": (saved(deep(), "TIFF"), "L"),
    "opaque rgba png": (saved(opaque_rgba()), "RGB"),
    "interlaced-like tiff lzw": (saved(waterfall(), "TIFF", compression="tiff_lzw"), "RGB"),
    "jpeg in tiff": (saved(waterfall(), "TIFF", compression="jpeg"), "RGB"),
    "cmyk tiff": (saved(waterfall("CMYK"), "TIFF"), "RGB"),
    "grey tiff": (saved(waterfall("L"), "TIFF"), "L"),
    "webp": (saved(waterfall(), "WEBP", quality=95), "RGB"),
    "lossless webp": (saved(waterfall(), "WEBP", lossless=True), "RGB"),
    "gif": (saved(waterfall("P"), "GIF"), "RGB"),
    "bmp": (saved(waterfall(), "BMP"), "RGB"),
    "grey bmp": (saved(waterfall("L"), "BMP"), "L"),
    "palette bmp": (saved(waterfall("P"), "BMP"), "RGB"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_picture_looks_like_itself(variant: str) -> None:
    """In any format and mode, a picture's renditions show it unmoved, with its own colours."""
    data, mode = VARIANTS[variant]
    found = made(Recipe(("320x240", "100x100"), caption="x"), data)
    assert found["320x240"].format == "JPEG"
    assert opened(found["320x240"].data).mode == mode
    near = 40 if "cmyk" in variant else 12
    for name in ("320x240", "100x100"):
        rendition = found[name]
        expected = np.asarray(
            waterfall(mode, (rendition.width, rendition.height)).convert("RGB")
        ).astype(np.int16)
        assert np.abs(pixels(rendition.data) - expected).mean() < near
    grey = np.asarray(waterfall("L")).astype(np.int16)
    assert np.abs(pixels(found["gray"].data, "L") - grey).mean() < near


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit_pictures_are_black_and_white(kind: str) -> None:
    """A bilevel picture keeps its black black and its white white."""
    image = Image.new("1", (60, 40))
    image.paste(1, (0, 0, 30, 40))
    grey = pixels(made(PLAIN, saved(image, kind))["gray"].data, "L")
    assert grey[:, :28].min() > 240
    assert grey[:, 32:].max() < 15


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_kept(mode: str, kind: str) -> None:
    """A picture with real alpha becomes PNG with that alpha, in colour and in grey.

    Its caption's field is opaque.
    """
    if kind == "TIFF" and mode == "LA":
        pytest.skip("Pillow writes no TIFF of grey with alpha")
    source = waterfall(mode)
    found = made(Recipe(("160x120",), caption="words"), saved(source, kind))
    assert {rendition.format for rendition in found.values()} == {"PNG"}
    alpha = np.asarray(source.getchannel("A")).astype(np.int16)
    for name in ("gray", "captioned"):
        found_alpha = np.asarray(opened(found[name].data).getchannel("A")).astype(np.int16)
        assert np.abs(found_alpha[:240] - alpha).max() <= 1
        assert (found_alpha[240:] == 255).all()
    assert opened(found["gray"].data).mode == "LA"
    small = np.asarray(opened(found["160x120"].data).getchannel("A")).astype(np.int16)
    assert (
        np.abs(
            small - np.asarray(source.getchannel("A").resize((160, 120))).astype(np.int16)
        ).max()
        < 4
    )


def test_transparent_pixels_do_not_bleed() -> None:
    """Colour hidden under full transparency does not colour the edge of what is shown."""
    image = Image.new("RGBA", (200, 200), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 100, 200))
    small = pixels(made(Recipe(("50x50",)), saved(image))["50x50"].data, "RGBA")
    shown = small[small[..., 3] > 8]
    assert shown[:, 0].max() < 30


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    """Animations and pages are rendered from their first frame."""
    frames = [
        Image.new("RGB", (40, 30), colour) for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 200))
    ]
    found = made(PLAIN, saved(frames[0], kind, save_all=True, append_images=frames[1:]))
    middle = pixels(found["100x100"].data)[15, 20]
    assert middle[0] > 180
    assert middle[1] < 30
    assert found["gray"].height == 30


@pytest.mark.parametrize(
    "kind", ["JPEG", "progressive", "grey", "CMYK", "PNG", "WEBP", "GIF", "TIFF", "BMP"]
)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_half_a_picture_is_no_picture(kind: str, part: float) -> None:
    """A truncated file is refused in every format; half a picture is never served silently."""
    image = waterfall({"grey": "L", "CMYK": "CMYK"}.get(kind, "RGB"))
    container = "JPEG" if kind in ("progressive", "grey", "CMYK") else kind
    data = saved(image, container, progressive=kind == "progressive")
    with pytest.raises(BadPicture):
        render(PLAIN, data[: int(len(data) * part)])


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MISNUMBERED = segment(0xE2, b"ICC_PROFILE\0\0\0" + PROFILE)
TRAILER = b"\0\0\x01\x0aImage_UTC_Data\xff\x53" + bytes(range(256)) + b"SEFT"
# What stands beside the pixels, or is missing there, and is no damage.
COMPLAINTS = {
    "profile 0 of 0": lambda jpeg: after_start(jpeg, MISNUMBERED),
    "no end": without_end,
    "half an end": lambda jpeg: jpeg[:-1],
    "a trailer and no end": lambda jpeg: without_end(jpeg, TRAILER),
    "a trailer": lambda jpeg: jpeg + TRAILER,
    "zeros and no end": lambda jpeg: without_end(jpeg, bytes(100)),
    "bytes between segments": lambda jpeg: jpeg.replace(b"\xff\xdb", bytes(7) + b"\xff\xdb", 1),
    "bytes before the end": lambda jpeg: without_end(jpeg, b"odd\xff\xd9"),
    "strange adobe": lambda jpeg: after_start(jpeg, segment(0xEE, b"Adobe\0\x64\0\0\0\0\7")),
}
JPEGS = {
    "baseline": WATERFALL,
    "progressive": saved(waterfall(), "JPEG", progressive=True),
    "grey": saved(waterfall("L"), "JPEG"),
    "cmyk": saved(waterfall("CMYK"), "JPEG"),
}


@pytest.mark.parametrize("jpeg", JPEGS)
@pytest.mark.parametrize("complaint", COMPLAINTS)
def test_what_is_not_of_the_pixels_costs_no_jpeg(complaint: str, jpeg: str) -> None:
    """A whole JPEG with something wrong beside its pixels looks like one without."""
    odd = COMPLAINTS[complaint](JPEGS[jpeg])
    found, right = (made(Recipe(("100x100",), gray=False), each) for each in (odd, JPEGS[jpeg]))
    assert np.abs(pixels(found["100x100"].data) - pixels(right["100x100"].data)).mean() < 2
    assert transform(odd)[1] == pytest.approx(transform(JPEGS[jpeg])[1], rel=0.01)


@pytest.mark.parametrize("jpeg", JPEGS)
@pytest.mark.parametrize("complaint", COMPLAINTS)
def test_a_scan_that_ends_early_is_damage(complaint: str, jpeg: str) -> None:
    """Whatever else a decoder could complain of, half a picture with an end is none."""
    if "trailer and" in complaint or "zeros" in complaint or "before" in complaint:
        pytest.skip("the bytes behind the cut are pixels to every decoder")
    whole = JPEGS[jpeg]
    for kept in (whole[: len(whole) * 3 // 5], whole[:-20]):
        with pytest.raises(BadPicture):
            render(PLAIN, COMPLAINTS[complaint](kept + b"\xff\xd9"))


@pytest.mark.parametrize(("across", "down"), [(4, 2), (2, 4), (3, 1), (1, 3), (3, 2), (2, 1)])
def test_every_chroma_sampling_is_shown(across: int, down: int) -> None:
    """JPEGs of any luma sampling that fits into an MCU are pictures, for classify, too."""
    found = made(PLAIN, sampled(across, down))
    assert np.abs(pixels(found["100x100"].data) - SAMPLED_COLOUR).max() < 4
    assert opened(transform(sampled(across, down))[0]).size == (8 * down, 8 * across)


@pytest.mark.parametrize("bits", [2, 7, 12, 16])
def test_a_jpeg_of_another_precision_is_refused(bits: int) -> None:
    """What would come out dark, or not at all, fails with its reason."""
    frame = WATERFALL.index(b"\xff\xc0")
    deep = WATERFALL[: frame + 4] + bytes((bits,)) + WATERFALL[frame + 5 :]
    for work in (lambda: render(PLAIN, deep), lambda: transform(deep)):
        with pytest.raises(BadPicture, match=f"{bits} bits a sample"):
            work()


def test_a_header_without_a_picture_is_refused() -> None:
    """A size and no pixels make no picture."""
    with pytest.raises(BadPicture):
        render(PLAIN, png_header(300, 300) + chunk(b"IDAT", b"nothing") + chunk(b"IEND", b""))


@pytest.mark.parametrize("data", [b"", b"<svg/>", b"%PDF-1.4", b"%!PS-Adobe"])
def test_rendering_refuses_what_is_no_image(data: bytes) -> None:
    """The allow-list holds for rendering as for probing."""
    with pytest.raises(NotAnImage):
        render(PLAIN, data)


def test_rendering_refuses_a_bomb_by_its_header() -> None:
    """No decoder sees a picture beyond the limit."""
    with pytest.raises(TooManyPixels):
        render(PLAIN, png_header(60_000, 60_000))
    with pytest.raises(TooManyPixels):
        render(PLAIN, WATERFALL, Limits(pixels=640 * 480 - 1))


def test_49_megapixels_are_rendered() -> None:
    """The largest picture allowed is rendered like any other."""
    tile = np.asarray(waterfall(size=(700, 700)))
    picture = simplejpeg.encode_jpeg(
        np.ascontiguousarray(np.tile(tile, (10, 10, 1))), 60, colorsubsampling="420"
    )
    found = {
        rendition.name: rendition for rendition in render(Recipe(("100x100", "500x500")), picture)
    }
    assert (found["gray"].width, found["500x500"].width) == (7000, 500)


def test_the_picture_above_a_caption_is_untouched() -> None:
    """Of a lossless picture every pixel above the field is the original's."""
    source = waterfall("RGBA", (90, 60))
    shown = pixels(
        made(Recipe((), gray=False, caption="below"), saved(source))["captioned"].data, "RGBA"
    )
    assert (shown[:60] == np.asarray(source)).all()
    assert (shown[60:, :, 3] == 255).all()
    assert shown[60:].shape[0] > 12


@pytest.mark.parametrize("caption", ["", " ", "\n\t ", "\u2003"])
def test_a_blank_caption_is_none(caption: str) -> None:
    """White space alone makes no caption.

    A picture that lies on its side gets its upright copy instead.
    """
    assert [
        r.name for r in render(Recipe((), gray=False, caption=caption), photo("Portrait_1"))
    ] == []
    assert [
        r.name for r in render(Recipe((), gray=False, caption=caption), photo("Portrait_6"))
    ] == ["upright"]


def swapped_profile() -> bytes:
    """Make an sRGB profile "odd" with red and blue exchanged: converting exchanges them back."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(int.from_bytes(data[128:132])):
        place = 132 + 12 * number
        name = bytes(data[place : place + 4])
        if name in (b"rXYZ", b"bXYZ"):
            data[place : place + 4] = b"bXYZ" if name == b"rXYZ" else b"rXYZ"
    return (
        bytes(data)
        .replace("sRGB".encode("utf-16-be"), "odd ".encode("utf-16-be"))
        .replace(b"sRGB", b"odd ")
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_profiles_are_applied_to_small_pictures_and_carried_by_large_ones(kind: str) -> None:
    """A size shows its colours without a profile.

    The captioned picture keeps its pixels and its profile.
    """
    strange = swapped_profile()
    source = Image.new("RGB", (64, 48), (200, 30, 30))
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    found = made(
        Recipe(("32x32",), caption="x"), saved(source, kind, icc_profile=strange, **options)
    )
    small = opened(found["32x32"].data)
    assert "icc_profile" not in small.info
    assert np.abs(np.asarray(small)[10, 10].astype(int) - (30, 30, 200)).max() < 25
    large = opened(found["captioned"].data)
    assert large.info["icc_profile"] == strange
    assert np.abs(np.asarray(large)[10, 10].astype(int) - (200, 30, 30)).max() < 12
    assert pixels(found["gray"].data, "L")[10, 10, ...] < 70


def named(icc: bytes, name: str) -> bytes:
    """A profile of lcms with another description of the same length."""
    return icc.replace("sRGB".encode("utf-16-be"), name.encode("utf-16-be"))


@pytest.mark.parametrize("name", ["sRGB", "odd "])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_profile_is_what_it_does_and_not_its_name(kind: str, name: str) -> None:
    """One of sRGB's curves and primaries is dropped whatever it is called, another is not."""
    same, other = (
        named(icc, name)
        for icc in (
            PROFILE,
            swapped_profile().replace(b"\0o\0d\0d\0 ", "sRGB".encode("utf-16-be")),
        )
    )
    source = Image.new("RGB", (64, 48), (200, 30, 30))
    shown = made(Recipe(("32x32",), caption="x"), saved(source, kind, icc_profile=other))
    assert pixels(shown["32x32"].data)[10, 10, 2] > 170
    assert opened(shown["captioned"].data).info["icc_profile"] == other
    assert (
        opened(transform(saved(source, kind, icc_profile=other))[0]).info["icc_profile"] == other
    )
    shown = made(Recipe(("32x32",), caption="x"), saved(source, kind, icc_profile=same))
    assert pixels(shown["32x32"].data)[10, 10, 0] > 170
    assert "icc_profile" not in opened(shown["captioned"].data).info


def test_a_profile_of_other_pixels_is_none() -> None:
    """A grey picture with a profile of colours is shown as it is, and does not carry it."""
    data = saved(Image.new("L", (64, 48), 100), icc_profile=swapped_profile())
    shown = made(Recipe(("32x32",), caption="x"), data)
    assert pixels(shown["gray"].data, "L")[10, 10] == 100
    assert "icc_profile" not in opened(shown["captioned"].data).info


@pytest.mark.parametrize("icc", [b"rubbish", bytes(128), bytes(3000)])
def test_a_damaged_profile_is_ignored(icc: bytes) -> None:
    """A profile that cannot be read does not fail the picture."""
    found = made(Recipe(("100x100",), caption="x"), saved(waterfall(), "JPEG", icc_profile=icc))
    assert (
        np.abs(pixels(found["100x100"].data) - np.asarray(waterfall(size=(100, 75)))).mean() < 12
    )


@pytest.mark.parametrize(
    "size", ["", "x", "100", "100x", "x100", "0x5", "5x0", "-1x5", "1.5x2", "१x२"]
)
def test_a_size_that_is_none_is_refused(size: str) -> None:
    """A size is two positive decimal numbers."""
    with pytest.raises(ValueError, match=r"size|side"):
        parse_size(size)


SAMPLES = [
    saved(waterfall(size=(31, 17)), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
]


@settings(max_examples=250)
@given(
    sample=st.sampled_from(SAMPLES),
    edits=st.lists(
        st.tuples(st.integers(0, 900), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4
    ),
)
def test_damaged_pictures_give_our_errors_or_renditions(
    sample: bytes, edits: list[tuple[int, bytes]]
) -> None:
    """Decoding any bytes gives renditions of the announced size or one of our errors."""
    data = bytearray(sample)
    for place, patch in edits:
        data[place : place + len(patch)] = patch
    try:
        found = render(Recipe(("10x10",), caption="x"), bytes(data), Limits(pixels=1_000_000))
    except (NotAnImage, TooManyPixels, BadPicture):
        return
    assert all(len(rendition.data) > 20 for rendition in found)


def test_rendering_works_in_a_forked_child() -> None:
    """Importing the module does not start libvips, which would hang in a child forked later."""
    code = (
        "import os, sys\n"
        "from atelier.imaging.renditions import Recipe, render\n"
        "picture = open(sys.argv[1], 'rb').read()\n"
        "assert 'pyvips' not in sys.modules\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(0 if len(render(Recipe(('50x50',)), picture)) == 2 else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    picture = str(PHOTOS / "waterfall_640x480.jpg")
    command = [sys.executable, "-c", code, picture]
    assert subprocess.run(command, timeout=PATIENCE_SECONDS, check=False).returncode == 0


FLAT = Recipe(("200x200",), gray=False, flat=True)


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(saved(waterfall("RGBA")), id="transparent PNG"),
        pytest.param(saved(waterfall("LA")), id="transparent grey PNG"),
        pytest.param(saved(deep()), id="16-bit PNG"),
        pytest.param(saved(deep(), "TIFF"), id="16-bit TIFF"),
        pytest.param(saved(waterfall("CMYK"), "JPEG"), id="CMYK JPEG"),
        pytest.param(saved(waterfall(), "BMP"), id="BMP"),
        pytest.param(saved(waterfall(), "TIFF", exif=exif({0x0112: 6})), id="oriented TIFF"),
    ],
)
def test_a_flat_recipe_makes_opaque_jpegs_of_everything(picture: bytes) -> None:
    """Whatever the picture is: one upright JPEG of 8 bits in grey or RGB, and nothing beside."""
    [(name, rendition)] = made(FLAT, picture).items()
    image = opened(rendition.data)
    assert (name, image.format, max(image.size)) == ("200x200", "JPEG", 200)
    assert image.mode in {"L", "RGB"}
    sideways = ImageOps.exif_transpose(opened(picture)).height > 300
    assert (image.height > image.width) == sideways


def test_a_flat_recipe_lays_pictures_on_white() -> None:
    """Where a picture is transparent it is white, not black."""
    nothing = saved(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))
    [rendition] = made(FLAT, nothing).values()
    assert pixels(rendition.data).min() > 250
