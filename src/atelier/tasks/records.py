"""The JSON record of a task, and the columns that it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from atelier.http.encoding import dumps
from atelier.wire.spaces import MAKER

COLUMNS = (
    "id, owner_id, meta, free, taken_at, leased_until, blob, format, media_type, size, "
    f"sequence, created_at, {MAKER} AS created_by"
)
SELECT_ONE = f"SELECT {COLUMNS} FROM tasks WHERE id = any($1::bigint[])"
MISSING = "There is no such task."  # to strangers, too

# The blobs that rows refer to, for `atelier check`; a view has no digest to compare with.
REFERENCED = """
    SELECT blob AS key, sha256 FROM tasks
    UNION ALL
    SELECT blob, NULL FROM task_views WHERE blob IS NOT NULL
"""


def record(row: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON record of the contract; `row` holds `COLUMNS`."""
    return {
        "id": row["id"],
        "space_id": row["owner_id"],
        "created_by": row["created_by"],
        "meta": row["meta"],
        "free": row["free"],
        "taken_at": row["taken_at"],
        "created_at": row["created_at"],
        "image": {
            "url": f"/api/tasks/{row['id']}/image",
            "format": row["format"],
            "size": row["size"],
        },
        "view": {"url": f"/api/tasks/{row['id']}/view"},
    }


def etag(row: Mapping[str, Any]) -> str:
    """The record's strong entity tag, without quotes."""
    return str(row["sequence"])


def leased(row: Mapping[str, Any]) -> bytes:
    """The record as JSON, with its lease if it has one, for the holder of the lease."""
    shown = record(row)
    until: datetime | None = row["leased_until"]
    if until is not None:
        shown["lease"] = {"token": row["sequence"], "expires_at": until.astimezone(UTC)}
    return dumps(shown)
