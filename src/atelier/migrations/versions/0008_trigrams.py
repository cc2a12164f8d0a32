"""Trigram indexes of books' titles and authors, where the server has the extension.

Revision: 0008, after 0007.
"""

from __future__ import annotations

import logging

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INDEXES = {"ix_books_title_trigrams": "title_folded", "ix_books_author_trigrams": "author_folded"}
# Trusted since PostgreSQL 13: whoever may create in the database may create it.
EXTENSION = """
    DO $$ BEGIN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
    EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_file THEN
        RAISE NOTICE 'pg_trgm: %', sqlerrm;
    END $$
"""
THERE = "SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'"

log = logging.getLogger(__name__)


def upgrade() -> None:
    op.execute(EXTENSION)
    if not op.get_bind().exec_driver_sql(THERE).scalar():
        log.warning("pg_trgm is missing or not permitted: searches for books read the whole table")
        return
    with op.get_context().autocommit_block():  # books are added meanwhile
        for name, column in INDEXES.items():
            # One that was interrupted is left behind, and is no good.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(
                f"CREATE INDEX CONCURRENTLY {name} ON books USING gin ({column} gin_trgm_ops)"
            )


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
