"""trash: what was deleted, restorable for some days.

Revision: 0019, after 0018.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# Quotas count what can be restored. What comes into the trash, or out of it again, stays counted:
# those statements stop the counting. What is purged does not.
COUNTED = """
    CREATE TRIGGER count_gone AFTER DELETE ON trash REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_usage('-1');
"""
# Without the table nothing refers to the blobs.
DISCARD = """
    INSERT INTO blob_garbage (key, after, intent)
    SELECT DISTINCT unnest(blobs), clock_timestamp(), false FROM trash ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    op.create_table(
        "trash",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("thing_id", sa.BigInteger(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("content", JSONB(), nullable=False),
        sa.Column("blobs", ARRAY(sa.Text()), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind in ('image', 'task', 'file')", name=op.f("ck_trash_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trash")),
    )
    op.create_index("uq_trash_kind_thing_id", "trash", ["kind", "thing_id"], unique=True)
    op.create_index("ix_trash_owner_id_id", "trash", ["owner_id", sa.text("id DESC")])
    op.create_index("ix_trash_deleted_at", "trash", ["deleted_at"])
    op.execute(COUNTED)


def downgrade() -> None:
    op.execute(DISCARD)
    op.drop_table("trash")
