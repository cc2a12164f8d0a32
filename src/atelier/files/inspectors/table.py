"""The table of inspectors by kind. It runs inside the sandbox."""

from __future__ import annotations

from collections.abc import Callable

from atelier.files.inspectors import Inspection, Task, archive, csv, image, json, other, pdf, text
from atelier.files.inspectors.counts import Progress

Processor = Callable[[Task, bytes], Inspection]

PROCESSORS: dict[str, Processor] = {
    "image": image.inspect,
    "text": text.inspect,
    "csv": csv.inspect,
    "json": json.inspect,
    "pdf": pdf.inspect,
    "archive": archive.inspect,
    "other": other.inspect,
}


def inspect(task: Task, data: bytes, progress: Progress | None = None) -> Inspection:
    """The contents of a file.

    Raises Invalid or Unsupported with a reason for its owner.
    """
    if task.piece:
        return text.proceed(task, data, progress)
    return PROCESSORS[task.kind](task, data)
