"""The decoders of a worker process: confined children that turn content into an inspection."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import msgspec
from django.core.files.storage import default_storage

from atelier.errors import Invalid, NotFound, Unavailable
from atelier.files.inspectors import Inspection, Task
from atelier.files.inspectors.detect import HEAD_BYTES
from atelier.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from atelier.files.models import File
    from atelier.settings import Settings

TARGET = "atelier.files.inspectors.table:inspect"
WARM_UP = "atelier.files.inspectors.warm:warm_up"
WHOLE_BYTES = 128 * 1024 * 1024  # of a file that goes into the decoder at once
PIECE_BYTES = 8 * 1024 * 1024  # of a larger text
ANSWER_BYTES = 4 * 1024 * 1024  # of one answer: a result of some kilobytes and a thumbnail


class TooLargeToInspect(Invalid):
    """The file is too large to be looked into."""

    slug = "too-large-to-inspect"


_open: list[tuple[Sandbox[Inspection], Settings]] = []


def start(settings: Settings) -> None:
    """Start this process's decoder."""
    sandbox = Sandbox(
        TARGET,
        Inspection,
        children=1,
        seconds=settings.decode_seconds,
        memory=settings.decode_memory,
        warm_up=WARM_UP,
        answer=ANSWER_BYTES,
    )
    _open[:] = [(sandbox, settings)]


def stop() -> None:
    """Stop this process's decoder."""
    while _open:
        _open.pop()[0].close()


def inspect(file: File) -> Inspection:
    """The contents of a file. Raises NotFound, Invalid, Unsupported, DecodeFailed, Unavailable."""
    if not _open:
        raise Unavailable("This process has no decoder.")
    sandbox, settings = _open[0]
    task = Task(
        file.kind,
        file.content_type,
        settings.pixel_limit,
        languages=settings.text_languages,
    )
    with default_storage.open(file.file.name) as content:
        if file.kind == "other":
            found = sandbox.call_sync(task, content.read(HEAD_BYTES))
            found.result |= {"size": file.size, "sha256": file.sha256}
            return found
        if file.size <= WHOLE_BYTES:
            return sandbox.call_sync(task, content.read())
        if file.kind == "text":
            return _piece_by_piece(sandbox, task, content, file.size)
    raise TooLargeToInspect(f"A file of this kind is looked into up to {WHOLE_BYTES} bytes.")


def _piece_by_piece(
    sandbox: Sandbox[Inspection], task: Task, content: IO[bytes], size: int
) -> Inspection:
    left, found = size, Inspection(task.kind, task.content_type, {})
    while left > 0:
        piece = content.read(PIECE_BYTES)
        if not piece:
            raise NotFound("The content is shorter than it was.")
        left -= len(piece)
        task = msgspec.structs.replace(task, piece=True, last=left <= 0)
        found = sandbox.call_sync(task, piece, found.progress)
    return found
