"""task views: pictures that every browser shows, made of those of tasks.

Revision: 0015, after 0014.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# A view goes with its task, whoever deletes that, the release before included; so the blob is
# listed here. The seconds are those in which a reader may still read it.
DISCARD = """
    CREATE FUNCTION discard_view() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO blob_garbage (key, after, intent)
        VALUES (OLD.blob, clock_timestamp() + interval '10 seconds', false)
        ON CONFLICT (key) DO UPDATE SET after = least(blob_garbage.after, excluded.after);
        RETURN NULL;
    END
    $$
"""
TRIGGER = """
    CREATE TRIGGER discard_view AFTER DELETE ON task_views
    FOR EACH ROW WHEN (OLD.blob IS NOT NULL) EXECUTE FUNCTION discard_view()
"""


def upgrade() -> None:
    op.create_table(
        "task_views",
        sa.Column("task_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("blob", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("offered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
            name=op.f("fk_task_views_task_id_tasks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_task_views")),
    )
    op.create_index(
        "ix_task_views_offered_at",
        "task_views",
        ["offered_at"],
        postgresql_where=sa.text("blob IS NULL AND error IS NULL"),
    )
    op.execute(DISCARD)
    op.execute(TRIGGER)


def downgrade() -> None:
    op.drop_table("task_views")
    op.execute("DROP FUNCTION discard_view()")
