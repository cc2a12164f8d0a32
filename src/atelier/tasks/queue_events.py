"""Events about queues, counted by the queue's row."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from atelier.events import outbox
from atelier.tasks.models import Queue

CREATED, UPDATED, DELETED = "queue.created", "queue.updated", "queue.deleted"
# Every queue of a space goes with it: $1 the space, $2 the actor.
FORGET = f"""
    WITH gone AS (DELETE FROM queues WHERE space_id = $1 RETURNING *)
    {outbox.INSERT}
    SELECT '{DELETED}', 'queues/' || id, sequence + 1,
        jsonb_build_object(
            'id', id, 'space_id', space_id, 'created_by', created_by, 'name', name, 'form', form
        ),
        space_id, $2
    FROM gone RETURNING id
"""


def announce(session: AsyncSession, queue: Queue, kind: str) -> None:
    """Write an event of a queue that the caller has locked."""
    queue.sequence += 1
    data = {
        "id": queue.id,
        "space_id": queue.space_id,
        "created_by": queue.created_by,
        "name": queue.name,
        "form": queue.form,
    }
    subject = f"queues/{queue.id}"
    outbox.record(session, kind, subject, queue.sequence, data, space_id=queue.space_id)
