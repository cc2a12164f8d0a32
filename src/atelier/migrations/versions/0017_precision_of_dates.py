"""precision of dates: a book's date of publication may be a month or a year.

Revision: 0017, after 0016.
"""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

NAME = "ck_books_publication_precision"
# The release before writes days alone, which the default says.
CHECK = """
    publication_precision IN ('day', 'month', 'year')
    AND date_trunc(publication_precision, publication_date::timestamp) = publication_date
"""


def upgrade() -> None:
    # What ends after the first step is begun again.
    op.execute(
        "ALTER TABLE books ADD COLUMN IF NOT EXISTS publication_precision text "
        f"NOT NULL DEFAULT 'day', DROP CONSTRAINT IF EXISTS {NAME}"
    )
    op.execute(f"ALTER TABLE books ADD CONSTRAINT {NAME} CHECK ({CHECK}) NOT VALID")
    with op.get_context().autocommit_block():  # books are added while it reads
        op.execute(f"ALTER TABLE books VALIDATE CONSTRAINT {NAME}")


def downgrade() -> None:
    op.drop_column("books", "publication_precision")
