"""Rendering inside the sandbox, where everything must have been loaded by the warm-up."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from PIL import ImageCms

from atelier.imaging import BadPicture, Limits, NotAnImage, Recipe, Rendition
from atelier.imaging import typeface as typefaces
from atelier.imaging.renditions import render
from atelier.sandbox.sandbox import Sandbox
from tests.imaging.pictures import WATERFALL, deep, exif, saved, waterfall
from tests.imaging.texts import TEXTS
from tests.sandbox.sandbox_tools import AMPLE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ODD_PROFILE = (
    ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes().replace(b"sRGB", b"odd ")
)


def renderer() -> Sandbox[list[Rendition]]:
    """One confined child that renders."""
    return Sandbox(
        "atelier.imaging.renditions:render",
        list[Rendition],
        children=1,
        seconds=AMPLE_SECONDS,
        memory=2**30,
        warm_up="atelier.imaging.warm:warm_up",
    )


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox[list[Rendition]]]:
    """The child of most tests."""
    with renderer() as child:
        yield child


@pytest.mark.parametrize(
    "picture",
    [
        WATERFALL,
        *(
            saved(waterfall(), kind, exif=exif({274: 6}))
            for kind in ("JPEG", "PNG", "WEBP", "TIFF")
        ),
        saved(waterfall("P"), "GIF"),
        saved(waterfall("P"), "BMP"),
        saved(waterfall("CMYK"), "JPEG"),
        saved(waterfall("RGBA")),
        saved(deep()),
        saved(waterfall(), "JPEG", icc_profile=ODD_PROFILE),
    ],
    ids=[
        "photo",
        "jpeg",
        "png",
        "webp",
        "tiff",
        "gif",
        "bmp",
        "cmyk",
        "alpha",
        "16-bit",
        "profile",
    ],
)
async def test_a_confined_child_renders_what_we_render(
    picture: bytes, sandbox: Sandbox[list[Rendition]]
) -> None:
    """Every format gives the same bytes inside the sandbox as outside."""
    recipe = Recipe(("100x100", "500x500"), caption="С начала фазы")
    assert await sandbox.call(recipe, picture, Limits()) == render(recipe, picture)


@pytest.mark.parametrize("name", TEXTS)
async def test_a_confined_child_writes_any_caption(
    name: str, sandbox: Sandbox[list[Rendition]]
) -> None:
    """Shaping, missing glyphs and other sizes need no file that the child has not read."""
    if name == "surrogate":
        pytest.skip("a lone surrogate cannot travel; callers refuse it before")
    recipe = Recipe((), gray=False, caption=TEXTS[name], caption_size=19)
    assert await sandbox.call(recipe, WATERFALL, Limits()) == render(recipe, WATERFALL)


@pytest.mark.skipif(sys.platform != "linux", reason="hides the library as Linux finds it")
async def test_a_child_without_fribidi_draws_as_we_do_without_it(
    without_fribidi: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where Pillow finds no library, the picture is the same inside and outside the sandbox."""
    recipe = Recipe((), gray=False, caption=TEXTS["arabic date"], caption_size=19)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(without_fribidi))
    with renderer() as child:
        drawn = await child.call(recipe, WATERFALL, Limits())
    monkeypatch.setattr(typefaces, "shapes", lambda: False)
    typefaces.typeface.cache_clear()
    expected = render(recipe, WATERFALL)
    typefaces.typeface.cache_clear()
    assert drawn == expected


async def test_refusals_come_out_as_themselves(sandbox: Sandbox[list[Rendition]]) -> None:
    """The errors of imaging cross the border."""
    with pytest.raises(NotAnImage):
        await sandbox.call(Recipe(()), b"<svg/>", Limits())
    with pytest.raises(BadPicture):
        await sandbox.call(Recipe(()), WATERFALL[:30_000], Limits())
