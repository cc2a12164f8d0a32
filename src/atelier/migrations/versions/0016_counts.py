"""counts: the index of an owner's pictures has their sizes, so that counting reads no table.

Revision: 0016, after 0015.
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

NEW = "ix_images_owner_id_id_size", "images (owner_id, id DESC) INCLUDE (size)"
OLD = "ix_images_owner_id_id", "images (owner_id, id DESC)"


def upgrade() -> None:
    _replace(OLD, NEW)


def downgrade() -> None:
    _replace(NEW, OLD)


def _replace(old: tuple[str, str], new: tuple[str, str]) -> None:
    with op.get_context().autocommit_block():  # rows are added meanwhile
        # One that was interrupted is left behind, and is no good.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {new[0]}")
        op.execute(f"CREATE INDEX CONCURRENTLY {new[0]} ON {new[1]}")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {old[0]}")
