"""Events about pictures: the types, and the data that each carries."""

from __future__ import annotations

from typing import Any

from atelier.images.models import Image
from atelier.wire.spaces import MAKER, shown_maker

CREATED = "image.created"
UPDATED = "image.updated"
DELETED = "image.deleted"
RESTORED = "image.restored"
PROCESSED = "image.processed"
FAILED = "image.failed"


def subject(image_id: int) -> str:
    """The subject of a picture's events."""
    return f"images/{image_id}"


def state(image: Image) -> dict[str, Any]:
    """The facts about a picture that a subscriber may want without asking back."""
    return {
        "id": image.id,
        "owner_id": image.owner_id,
        "space_id": image.owner_id,
        "created_by": shown_maker(image.created_by),
        "title": image.title,
        "description": image.description,
        "tags": image.tags,
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "size": image.size,
        "sha256": image.sha256,
        "status": image.status,
        "version": image.version,
        "error": image.error,
        "renditions": [
            {key: value for key, value in r.items() if key != "blob"} for r in image.renditions
        ],
    }


def state_of_row() -> str:
    """The same as `state`, of a row of images in SQL; a test compares the two."""
    return f"""
        jsonb_build_object(
            'id', id, 'owner_id', owner_id, 'space_id', owner_id,
            'created_by', {MAKER},
            'title', title, 'description', description, 'tags', to_jsonb(tags),
            'format', format, 'width', width, 'height', height, 'size', size, 'sha256', sha256,
            'status', status, 'version', version, 'error', error,
            'renditions', (
                SELECT coalesce(jsonb_agg(r - 'blob'), '[]')
                FROM jsonb_array_elements(renditions) AS r
            )
        )
    """
