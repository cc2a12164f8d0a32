"""Events about tasks: the types, and the data that PostgreSQL puts together for each."""

from __future__ import annotations

from atelier.events import outbox
from atelier.tasks.records import SIZE
from atelier.wire.spaces import MAKER

CREATED = "task.created"
TAKEN = "task.taken"
RELEASED = "task.released"
SKIPPED = "task.skipped"
COMPLETED = "task.completed"
ANSWERED = "task.answered"
MOVED = "task.moved"
DELETED = "task.deleted"
RESTORED = "task.restored"

# The facts that a subscriber may want without asking back, of a row of `tasks`.
STATE = f"""
    jsonb_build_object(
        'id', id, 'owner_id', owner_id, 'space_id', owner_id, 'created_by', {MAKER},
        'meta', meta, 'free', free, 'taken_at', taken_at, 'leased_until', leased_until,
        'created_at', created_at, 'format', format, 'media_type', media_type, 'size', {SIZE},
        'sha256', sha256, 'queue_id', queue_id, 'image_id', image_id,
        'taken_by', CASE WHEN completed_at IS NULL THEN taken_by END, 'completed_at', completed_at
    )
"""
# What the data have besides where there is an answer: by whom, and the parameter that it is.
ANSWER = "'completed_by', {0}::bigint, 'result', {1}::jsonb"


def announce(
    event: str, rows: str, actor: str, *, sequence: str = "sequence", more: str = ""
) -> str:
    """The INSERT that adds `event` for each of `rows`, a CTE of whole tasks.

    All arguments are constants; `actor` is the parameter with that value, or NULL. `more` are
    names and values that the data have besides.
    """
    data = f"{STATE} || jsonb_build_object({more})" if more else STATE
    values = f"'{event}', 'tasks/' || id, {sequence}, {data}, owner_id, {actor}"
    return f"{outbox.INSERT} SELECT {values} FROM {rows}"
