"""The JSON record of a task, and the columns that it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from orjson import Fragment

from atelier.wire.spaces import MAKER

# The bytes of a task made of a stored picture are the picture's.
_OF_IMAGE = "(SELECT {0} FROM images WHERE images.id = image_id)"
SIZE = f"CASE WHEN image_id IS NULL THEN size ELSE {_OF_IMAGE.format('size')} END"
RECORDED = (  # what the record shows
    "id, owner_id, queue_id, image_id, meta, free, taken_at, taken_by, leased_until, "
    f"completed_at, format, {SIZE} AS size, created_at, {MAKER} AS created_by"
)
COLUMNS = f"{RECORDED}, coalesce(blob, {_OF_IMAGE.format('blob')}) AS blob, media_type, sequence"
# Some tasks, each with its last answer: what lists and single reads show. `{tasks}` selects
# COLUMNS.
ANSWERED = """
    SELECT * FROM ({tasks}) AS tasks LEFT JOIN LATERAL (
        SELECT user_id AS completed_by, result::text, seconds FROM answers
        WHERE task_id = tasks.id AND tasks.completed_at IS NOT NULL
        ORDER BY answers.id DESC LIMIT 1
    ) AS answer ON true
"""
SELECT_ONE = ANSWERED.format(tasks=f"SELECT {COLUMNS} FROM tasks WHERE id = any($1::bigint[])")
MISSING = "There is no such task."  # to strangers, too

# The blobs that rows refer to, for `atelier check`; a view has no digest to compare with.
REFERENCED = """
    SELECT blob AS key, sha256 FROM tasks WHERE blob IS NOT NULL
    UNION ALL
    SELECT blob, NULL FROM task_views WHERE blob IS NOT NULL
"""


class State(StrEnum):
    """How far a task is; one that was skipped is with nobody, and counts as taken."""

    FREE = "free"
    TAKEN = "taken"
    DONE = "done"


COMPLETED = {State.TAKEN: False, State.DONE: True}  # of the tasks that are not free


def record(row: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON record of the contract; `row` holds `RECORDED`, and the answer if there is one."""
    state, result = state_of(row), row.get("result")
    return {
        "id": row["id"],
        "space_id": row["owner_id"],
        "created_by": row["created_by"],
        "queue_id": row["queue_id"],
        "image_id": row["image_id"],
        "meta": row["meta"],
        "free": row["free"],
        "state": state,
        "taken_at": row["taken_at"],
        "taken_by": row["taken_by"] if state is State.TAKEN else None,
        "skipped_until": row["leased_until"] if is_skipped(row) else None,
        "completed_at": row["completed_at"],
        "completed_by": row.get("completed_by"),
        "seconds": row.get("seconds"),
        "result": None if result is None else Fragment(result),
        "created_at": row["created_at"],
        "image": {
            "url": f"/api/tasks/{row['id']}/image",
            "format": row["format"],
            "size": row["size"],
        },
        "view": {"url": f"/api/tasks/{row['id']}/view"},
    }


def state_of(row: Mapping[str, Any]) -> State:
    """The state of a row."""
    if row["free"]:
        return State.FREE
    return State.TAKEN if row["completed_at"] is None else State.DONE


def is_skipped(row: Mapping[str, Any]) -> bool:
    """Whether a row is with nobody until its lease ends."""
    return not row["free"] and row["taken_at"] is None


def etag(row: Mapping[str, Any]) -> str:
    """The record's strong entity tag, without quotes."""
    return str(row["sequence"])


def leased(row: Mapping[str, Any]) -> dict[str, Any]:
    """The record with its lease if it has one, for the holder of the lease."""
    shown = record(row)
    until: datetime | None = row["leased_until"]
    if until is not None and not is_skipped(row):
        shown["lease"] = {"token": row["sequence"], "expires_at": until.astimezone(UTC)}
    return shown
