"""Executes a recipe on a picture: bytes in, renditions out, upright and without metadata."""

from __future__ import annotations

import cv2
import numpy as np

from atelier.imaging.caption import caption_field
from atelier.imaging.colour import has_srgb_luminance, significant, to_srgb
from atelier.imaging.encode import encode
from atelier.imaging.errors import BadPicture
from atelier.imaging.identify.headers import Header, read_header
from atelier.imaging.identify.metadata import SIDEWAYS
from atelier.imaging.identify.probe import check
from atelier.imaging.pixels import BUFFERS, Pixels, on_white, upright
from atelier.imaging.raster import Raster, as_decoded, decode
from atelier.imaging.recipe import Limits, Recipe, Rendition
from atelier.imaging.resize import Level, fit, shrink

# JPEG quality of small renditions, and of those that stand for the picture itself.
QUALITY, QUALITY_FULL = 80, 90


def render(recipe: Recipe, picture: bytes, limits: Limits | None = None) -> list[Rendition]:
    """Makes every rendition that the recipe asks for; none is larger than the picture.

    Sizes come first, in the recipe's order, then `gray`, then `captioned` (with a caption) or
    `upright` (without one, when the stored pixels are not upright). Opaque pictures become JPEG,
    others PNG; those of a flat recipe all become JPEG.

    Raises:
        NotAnImage, TooManyPixels, BadPicture: see atelier.imaging.errors.
        ValueError: a size of the recipe is not "WIDTHxHEIGHT".
    """
    limits = limits or Limits()
    header = read_header(picture)
    check(header, limits)
    header, turn = as_decoded(header)
    width = header.height if turn in SIDEWAYS else header.width
    caption = recipe.caption if recipe.caption.strip() else ""
    field = _field(recipe, caption, width) if caption else None
    turned = turn != 1 and not recipe.flat
    whole = caption != "" or turned
    try:
        raster = decode(
            picture,
            header,
            spare_rows=len(field) if field is not None else 0,
            exact=whole or recipe.flat,
            divisor=1 if whole or recipe.gray else _divisor(header, turn, recipe.sizes),
        )
        raster.icc = significant(raster.icc, raster.pixels.shape[2])
        made = _sizes(recipe, header, raster, turn)
        if recipe.gray:
            made.append(_gray(raster, turn))
        if field is not None:
            made.append(_captioned(raster, turn, field))
        elif turned:
            made.append(
                _rendition("upright", upright(raster.pixels, turn), QUALITY_FULL, raster.icc)
            )
    except cv2.error as error:
        raise BadPicture(str(error)) from error
    return made


def _field(recipe: Recipe, caption: str, width: int) -> Pixels:
    size, font, index = recipe.caption_size, recipe.caption_font, recipe.caption_index
    return caption_field(caption, width, size, font, index)


def _rendition(name: str, pixels: Pixels, quality: int, icc: bytes = b"") -> Rendition:
    kind, data = encode(pixels, quality, icc)
    return Rendition(name, pixels.shape[1], pixels.shape[0], kind, data)


def parse_size(size: str) -> tuple[int, int]:
    """Width and height of a size such as `500x500`. Raises ValueError."""
    width, _, height = size.partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise ValueError(f"{size!r} is not a size like 500x500")
    if not int(width) or not int(height):
        raise ValueError(f"{size!r} has a side of no pixels")
    return int(width), int(height)


def _targets(header: Header, turn: int, sizes: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """The exact (width, height) of every size, in the orientation of the stored pixels."""
    boxes = {name: parse_size(name) for name in sizes}
    sideways = turn in SIDEWAYS
    return {
        name: fit(header.width, header.height, box[::-1] if sideways else box)
        for name, box in boxes.items()
    }


def _divisor(header: Header, turn: int, sizes: tuple[str, ...]) -> int:
    """The divisor at which a JPEG may be decoded if only sizes are wanted."""
    room = [
        min(header.width / width, header.height / height) / 2
        for width, height in _targets(header, turn, sizes).values()
    ]
    return next((divisor for divisor in (8, 4, 2) if divisor <= min(room, default=1)), 1)


def _level(header: Header, raster: Raster) -> Level:
    """The decoded pixels, with the exact size that they stand for."""
    rows, columns, _ = raster.pixels.shape
    if (rows, columns) == (header.height, header.width):
        return Level.of(raster.pixels)
    divisor = round(header.width / columns) if columns > 1 else round(header.height / rows)
    return Level(raster.pixels, header.width / divisor, header.height / divisor)


def _sizes(recipe: Recipe, header: Header, raster: Raster, turn: int) -> list[Rendition]:
    """The sizes, each made from the smallest level that is at least twice as large."""
    targets = _targets(header, turn, recipe.sizes)
    levels = [_level(header, raster)]
    made: dict[str, Rendition] = {}
    for name, target in sorted(targets.items(), key=lambda item: item[1], reverse=True):
        enough = [
            lv
            for lv in levels
            if lv.pixels.shape[1] >= 2 * target[0] and lv.pixels.shape[0] >= 2 * target[1]
        ]
        source = min(enough or levels[:1], key=lambda level: level.pixels.size)
        if not raster.alpha:
            source = source.down_to(target)
        small = shrink(source, target)
        levels += [source, Level.of(small)]
        pixels = upright(to_srgb(small, raster.icc), turn)
        made[name] = (
            _rendition(name, on_white(pixels), QUALITY_FULL)
            if recipe.flat
            else _rendition(name, pixels, QUALITY)
        )
    return [made[name] for name in recipe.sizes]


def _gray(raster: Raster, turn: int) -> Rendition:
    pixels, channels = raster.pixels, raster.pixels.shape[2]
    if not has_srgb_luminance(raster.icc, channels):
        pixels = to_srgb(pixels, raster.icc)
    if channels > 2:
        code = cv2.COLOR_RGBA2GRAY if raster.alpha else cv2.COLOR_RGB2GRAY
        grey = BUFFERS.take("gray", *pixels.shape[:2])
        cv2.cvtColor(pixels, code, dst=grey)
        pixels = np.dstack((grey, pixels[..., 3])) if raster.alpha else grey[..., np.newaxis]
    return _rendition("gray", upright(pixels, turn), QUALITY)


def _captioned(raster: Raster, turn: int, field: Pixels) -> Rendition:
    """The picture above, unscaled, and the caption's field below."""
    rows, columns, channels = raster.pixels.shape
    if turn in SIDEWAYS:
        rows, columns = columns, rows
    if turn == 1:
        canvas = raster.canvas
    else:
        canvas = BUFFERS.take("canvas", rows + len(field), columns, channels)
        upright(raster.pixels, turn, out=canvas[:rows])
    canvas[rows:] = field[..., np.newaxis]
    if raster.alpha:
        canvas[rows:, :, -1] = 255
    return _rendition("captioned", canvas, QUALITY_FULL, raster.icc)
