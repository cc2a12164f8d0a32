"""The Celery app and its one job."""

from __future__ import annotations

import io
import os
from typing import Any

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.peers.plain_drf.settings")
app = Celery("plain_drf")
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task(name="plain_drf.process_file")
def process_file(file_id: int) -> None:
    """Look at a file by its name's ending, and mark it processed."""
    from benchmarks.peers.plain_drf.models import File

    file = File.objects.get(pk=file_id)
    name = file.file.name.lower()
    with file.file.open("rb") as content:
        data = content.read()
    file.result = _image(data) if name.endswith((".jpg", ".jpeg", ".png")) else _text(data)
    file.processed = True
    file.save()


def _image(data: bytes) -> dict[str, Any]:
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
        upright.thumbnail((200, 200))
        made = io.BytesIO()
        upright.save(made, "JPEG", quality=80)
        return {
            "width": image.width,
            "height": image.height,
            "format": image.format,
            "thumbnail": len(made.getvalue()),
        }


def _text(data: bytes) -> dict[str, Any]:
    text = data.decode("utf-8", "replace")
    return {"lines": text.count("\n"), "words": len(text.split()), "characters": len(text)}
