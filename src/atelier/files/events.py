"""Events about files: the types, and the data that each carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from atelier.files.models import File

UPLOADED = "file.uploaded"
PROCESSED = "file.processed"
FAILED = "file.failed"
MOVED = "file.moved"
DELETED = "file.deleted"


def announce(file: File, type_: str) -> None:
    """Add an event in the present transaction.

    The caller holds the row's lock and has set its sequence.
    """
    announce_all([file], type_)


def announce_all(files: Iterable[File], type_: str, **more: Mapping[int, int]) -> None:
    """`announce` for many files; of `more` each event's data have the value for its file's id."""
    from atelier.files.models import Outbox

    Outbox.objects.bulk_create(
        Outbox(
            type=type_,
            subject=f"files/{file.pk}",
            sequence=file.sequence,
            data=state(file) | {name: values[file.pk] for name, values in more.items()},
            space_id=file.owner_id,
        )
        for file in files
    )


def state(file: File) -> dict[str, Any]:
    """The facts about a file that a subscriber may want without asking back.

    The inspection's result is not among them.
    """
    return {
        "id": file.pk,
        "owner_id": file.owner_id,
        "space_id": file.owner_id,
        "created_by": file.maker,
        "name": file.name,
        "content_type": file.content_type,
        "kind": file.kind,
        "size": file.size,
        "sha256": file.sha256,
        "status": file.status,
        "version": file.version,
        "error": file.error,
    }
