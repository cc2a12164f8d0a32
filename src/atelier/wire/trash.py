"""The trash: what was deleted stays restorable for some days. Statements for any driver.

A deleted row leaves its table at once, so no list, count or search sees it, and is kept whole as
JSON in the table `trash`. Its blobs are referred to from there until it is restored or purged.
"""

from __future__ import annotations

from enum import StrEnum

from atelier.wire.spaces import GONE

# The thing stays counted for its space's quota, so the triggers of this transaction count nothing.
# Two updates of one row of `owner_usage` in a transaction would lock the space, after the thing:
# against the order of whoever begins to count.
_UNCOUNTED = "set_config('atelier.forgetting', 'on', true) = 'on'"
TITLE_CHARACTERS = 200  # of what stands for a thing in the list of the trash


class Kind(StrEnum):
    """What is in the trash; its table and subjects have the plural."""

    IMAGE = "image"
    TASK = "task"
    FILE = "file"


def kept(
    kind: Kind, actor: str, *, title: str, blobs: str, content: str = "to_jsonb(gone)"
) -> str:
    """The INSERT that puts each row of the CTE `gone`, just deleted, into the trash.

    All arguments are constants of SQL: `title` a text, `blobs` an array of keys, `actor` the
    parameter with who did it. The event of the deletion has the number after the row's.
    """
    return f"""
        INSERT INTO trash (kind, thing_id, owner_id, size, title, content, blobs, sequence, actor,
            deleted_at)
        SELECT '{kind}', id, owner_id, size, left({title}, {TITLE_CHARACTERS}), {content}, {blobs},
            sequence + 1, {actor}, clock_timestamp()
        FROM gone WHERE {_UNCOUNTED}
    """


# What takes things of one kind out of the trash, for a CTE; the parameter is an array of ids.
TAKEN_OUT = f"""
    DELETE FROM trash WHERE kind = '{{kind}}' AND thing_id = ANY({{ids}}) AND {_UNCOUNTED}
    RETURNING *
"""


def person(content: str, name: str) -> str:
    """A person named in a JSON object, or the sign of one who has left meanwhile; SQL."""
    user = f"CAST({content} ->> '{name}' AS bigint)"
    known = f"{user} IS NULL OR EXISTS (SELECT FROM users WHERE users.id = {user})"
    return f"CASE WHEN {known} THEN {user} ELSE {GONE} END"


# What a restored row has anew: its maker may have left, and its restoration is its next event.
RENEWED = f"""
    jsonb_build_object(
        'created_by', {person("taken_out.content", "created_by")},
        'sequence', taken_out.sequence + 1
    )
"""

# The blobs that rows refer to, for `atelier check`; only originals have a digest to compare with.
REFERENCED = """
    SELECT key, CASE
        WHEN key = coalesce(content ->> 'blob', content ->> 'file') THEN content ->> 'sha256'
    END
    FROM trash, unnest(blobs) AS key
"""
