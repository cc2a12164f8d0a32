"""Events about files: the types, and the data that each carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atelier.files.models import File

UPLOADED = "file.uploaded"
PROCESSED = "file.processed"
FAILED = "file.failed"
DELETED = "file.deleted"


def announce(file: File, type_: str) -> None:
    """Add an event in the present transaction.

    The caller holds the row's lock and has set its sequence.
    """
    from atelier.files.models import Outbox

    Outbox.objects.create(
        type=type_,
        subject=f"files/{file.pk}",
        sequence=file.sequence,
        data=state(file),
        space_id=file.owner_id,
    )


def state(file: File) -> dict[str, Any]:
    """The facts about a file that a subscriber may want without asking back.

    The inspection's result is not among them.
    """
    return {
        "id": file.pk,
        "owner_id": file.owner_id,
        "name": file.name,
        "content_type": file.content_type,
        "kind": file.kind,
        "size": file.size,
        "sha256": file.sha256,
        "status": file.status,
        "version": file.version,
        "error": file.error,
    }
