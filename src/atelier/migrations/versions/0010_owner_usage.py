"""owner usage.

Revision: 0010, after 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# A person without a row is not counted. `changed` has the rows of one statement, all new or all
# gone; the trigger's argument is 1 or -1.
COUNT = """
    CREATE FUNCTION count_usage() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('atelier.forgetting', true) = 'on' THEN
            RETURN NULL;
        END IF;
        UPDATE owner_usage AS kept
        SET objects = kept.objects + TG_ARGV[0]::integer * sums.objects,
            bytes = kept.bytes + TG_ARGV[0]::integer * sums.bytes
        FROM (
            SELECT owner_id, count(*) AS objects, sum(size) AS bytes FROM changed GROUP BY owner_id
        ) AS sums
        WHERE kept.owner_id = sums.owner_id;
        RETURN NULL;
    END
    $$
"""
TRIGGERS = """
    CREATE TRIGGER count_made AFTER INSERT ON {table} REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_usage('1');
    CREATE TRIGGER count_gone AFTER DELETE ON {table} REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_usage('-1');
"""
# The table of files is Django's: in a new database it is made later, with its triggers. Here it
# gets those that a downgrade has dropped with the function.
OF_FILES = f"""
    DO $$
    BEGIN
        IF to_regclass('files') IS NOT NULL THEN
            {TRIGGERS.format(table="files")}
        END IF;
    END
    $$
"""


def upgrade() -> None:
    op.create_table(
        "owner_usage",
        sa.Column("owner_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("objects", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
            name=op.f("fk_owner_usage_owner_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("owner_id", name=op.f("pk_owner_usage")),
    )
    op.execute(COUNT)
    for table in ("images", "tasks"):
        op.execute(TRIGGERS.format(table=table))
    op.execute(OF_FILES)


def downgrade() -> None:
    op.execute("DROP FUNCTION count_usage() CASCADE")  # with the triggers, those on files too
    op.drop_table("owner_usage")
