"""answers: what was said to a task, queues of tasks, tasks of stored pictures.

Revision: 0013, after 0012.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NEW = ("queue_id", "image_id", "taken_by")


def upgrade() -> None:
    op.create_table(
        "queues",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("form", JSONB(none_as_null=True), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_queues_space_id_spaces"),
        sa.PrimaryKeyConstraint("id", name="pk_queues"),
    )
    op.create_index("ix_queues_space_id_id", "queues", ["space_id", "id"])
    op.create_index("ix_queues_created_by", "queues", ["created_by"])
    op.create_table(
        "answers",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("queue_id", sa.BigInteger(), nullable=True),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("result", JSONB(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name="fk_answers_task_id_tasks", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_answers"),
    )
    op.create_index("ix_answers_task_id", "answers", ["task_id"])
    op.create_index("ix_answers_user_id", "answers", ["user_id"])
    op.create_index(
        "ix_answers_queue_id_at",
        "answers",
        ["queue_id", "at"],
        postgresql_where=sa.text("queue_id IS NOT NULL"),
    )
    for column in NEW:
        op.add_column("tasks", sa.Column(column, sa.BigInteger(), nullable=True))
    op.add_column("tasks", sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True))
    # A task of a stored picture has no bytes of its own. The release before would make garbage of
    # a picture's blob when such a task is deleted: without one it fails instead.
    op.alter_column("tasks", "blob", nullable=True)
    for column, other in (("queue_id", "queues"), ("image_id", "images")):
        name = f"fk_tasks_{column}_{other}"
        op.execute(
            f"ALTER TABLE tasks ADD CONSTRAINT {name} FOREIGN KEY ({column}) "
            f"REFERENCES {other} (id) NOT VALID"
        )
        op.execute(f"ALTER TABLE tasks VALIDATE CONSTRAINT {name}")


def downgrade() -> None:
    op.execute("DELETE FROM tasks WHERE blob IS NULL")
    op.alter_column("tasks", "blob", nullable=False)
    for column in (*NEW, "completed_at"):
        op.drop_column("tasks", column)
    op.drop_table("answers")
    op.drop_table("queues")
