"""makers: indexes of who made what in teams' spaces, and of whose invitations there are.

Revision: 0012, after 0011.
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_images_created_by": "images (created_by) WHERE created_by <> owner_id",
    "ix_tasks_created_by": "tasks (created_by) WHERE created_by <> owner_id",
    "ix_account_links_space_id": "account_links (space_id)",
    "ix_account_links_created_by": "account_links (created_by)",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():  # rows are added meanwhile
        for name, where in INDEXES.items():
            # One that was interrupted is left behind, and is no good.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {where}")


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
