"""Pictures: format, size, metadata and a thumbnail."""

from __future__ import annotations

from atelier.files.inspectors import Inspection, Picture, Task
from atelier.imaging.identify.probe import probe
from atelier.imaging.recipe import Limits, Recipe
from atelier.imaging.renditions import render

SIZE = "200x200"
MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png"}


def inspect(task: Task, data: bytes) -> Inspection:
    """Raises NotAnImage, TooManyPixels, BadPicture."""
    limits = Limits(pixels=task.pixels)
    seen = probe(data, limits)
    (made,) = [
        each for each in render(Recipe((SIZE,), gray=False), data, limits) if each.name == SIZE
    ]
    thumbnail = Picture(made.data, MEDIA_TYPES[made.format], made.width, made.height)
    result = {
        "format": seen.format,
        "width": seen.width,
        "height": seen.height,
        "orientation": seen.orientation,
        "frames": seen.frames,
        "metadata": seen.metadata,
        "thumbnail": {
            "width": made.width,
            "height": made.height,
            "size": len(made.data),
            "content_type": thumbnail.content_type,
        },
    }
    return Inspection("image", seen.media_type, result, thumbnail)
