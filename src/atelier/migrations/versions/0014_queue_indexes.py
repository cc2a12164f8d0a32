"""queue indexes: the hand-out of a queue, and one task for each picture of a queue.

Revision: 0014, after 0013.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_tasks_queue_id_free_id": "INDEX {} ON tasks (queue_id, free, id) "
    "WHERE queue_id IS NOT NULL",
    "uq_tasks_image_id_queue_id": "UNIQUE INDEX {} ON tasks (image_id, queue_id) "
    "WHERE image_id IS NOT NULL",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():  # rows are added meanwhile
        for name, form in INDEXES.items():
            # One that was interrupted is left behind, and is no good.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE {form.format(name)}".replace("INDEX", "INDEX CONCURRENTLY", 1))


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
