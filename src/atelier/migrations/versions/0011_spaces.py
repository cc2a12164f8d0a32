"""spaces: whose a thing is becomes a space; a person's own has the person's id.

Revision: 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# Nobody makes an account without a space of their own, the release before this one included.
MAKE_PERSONAL = """
    CREATE FUNCTION make_personal_space() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO spaces (id, user_id, created_at) VALUES (NEW.id, NEW.id, NEW.created_at);
        RETURN NULL;
    END
    $$
"""
TRIGGER = """
    CREATE TRIGGER make_personal_space AFTER INSERT ON users
    FOR EACH ROW EXECUTE FUNCTION make_personal_space()
"""
BACKFILL = "INSERT INTO spaces (id, user_id, created_at) SELECT id, id, created_at FROM users"
TABLES = ("images", "tasks")

# What moves counts in another space from then on. In order of the spaces' ids, so that two moves
# in opposite directions do not wait for each other.
MOVE_USAGE = """
    CREATE FUNCTION move_usage() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM FROM owner_usage WHERE owner_id IN (OLD.owner_id, NEW.owner_id)
        ORDER BY owner_id FOR UPDATE;
        UPDATE owner_usage AS kept
        SET objects = kept.objects + step.sign, bytes = kept.bytes + step.sign * NEW.size
        FROM (VALUES (OLD.owner_id, -1), (NEW.owner_id, 1)) AS step (owner_id, sign)
        WHERE kept.owner_id = step.owner_id;
        RETURN NULL;
    END
    $$
"""
# For each row: triggers for columns have no tables of what changed, and one without would cost
# every other change of these tables.
COUNT_MOVED = """
    CREATE TRIGGER count_moved AFTER UPDATE OF owner_id ON {table}
    FOR EACH ROW WHEN (OLD.owner_id <> NEW.owner_id) EXECUTE FUNCTION move_usage();
"""
# The table of files is Django's, whose migration makes its trigger where the table comes later.
OF_FILES = f"""
    DO $$
    BEGIN
        IF to_regclass('files') IS NOT NULL THEN
            {COUNT_MOVED.format(table="files")}
        END IF;
    END
    $$
"""


def upgrade() -> None:
    op.create_table(
        "spaces",
        sa.Column(
            "id",
            sa.BigInteger(),
            server_default=sa.text("nextval('users_id_seq')"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("sequence", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_spaces_user_id_users", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_spaces"),
        sa.UniqueConstraint("user_id", name="uq_spaces_user_id"),
    )
    op.create_table(
        "members",
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role in ('viewer', 'worker', 'editor', 'owner')", name="ck_members_role"
        ),
        sa.ForeignKeyConstraint(
            ["space_id"], ["spaces.id"], name="fk_members_space_id_spaces", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_members_user_id_users", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("space_id", "user_id", name="pk_members"),
    )
    op.create_index("ix_members_user_id", "members", ["user_id"])
    op.execute(MAKE_PERSONAL)
    op.execute(TRIGGER)  # from here to the commit nobody else adds a user
    op.execute(BACKFILL)
    for table in TABLES:
        op.add_column(table, sa.Column("created_by", sa.BigInteger(), nullable=True))
        op.drop_constraint(f"fk_{table}_owner_id_users", table, type_="foreignkey")
        _refer(table, "owner_id", "spaces")
    op.execute(MOVE_USAGE)
    for table in TABLES:
        op.execute(COUNT_MOVED.format(table=table))
    op.execute(OF_FILES)
    _refer("api_keys", "space_id", "spaces", " ON DELETE CASCADE")
    op.drop_constraint("fk_owner_usage_owner_id_users", "owner_usage", type_="foreignkey")
    _refer("owner_usage", "owner_id", "spaces", " ON DELETE CASCADE")
    op.add_column("account_links", sa.Column("space_id", sa.BigInteger(), nullable=True))
    op.add_column("account_links", sa.Column("role", sa.Text(), nullable=True))
    op.add_column("account_links", sa.Column("created_by", sa.BigInteger(), nullable=True))
    _refer("account_links", "space_id", "spaces", " ON DELETE CASCADE")
    _refer("account_links", "created_by", "users", " ON DELETE CASCADE")
    op.add_column("outbox", sa.Column("actor", sa.Text(), nullable=True))
    op.add_column("outbox", sa.Column("space_id", sa.BigInteger(), nullable=True))


def _refer(table: str, column: str, other: str, more: str = "") -> None:
    """Add a foreign key; the rows that are there are checked without stopping writers for long."""
    name = f"fk_{table}_{column}_{other}"
    op.execute(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column}) "
        f"REFERENCES {other} (id){more} NOT VALID"
    )
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def downgrade() -> None:
    op.execute("DROP FUNCTION move_usage() CASCADE")  # with the triggers, those on files too
    op.drop_column("outbox", "space_id")
    op.drop_column("outbox", "actor")
    for column in ("created_by", "role", "space_id"):
        op.drop_column("account_links", column)
    op.drop_constraint("fk_owner_usage_owner_id_spaces", "owner_usage", type_="foreignkey")
    _refer("owner_usage", "owner_id", "users", " ON DELETE CASCADE")
    op.drop_constraint("fk_api_keys_space_id_spaces", "api_keys", type_="foreignkey")
    for table in TABLES:
        op.drop_column(table, "created_by")
        op.drop_constraint(f"fk_{table}_owner_id_spaces", table, type_="foreignkey")
        _refer(table, "owner_id", "users")
    op.execute("ALTER TABLE IF EXISTS files DROP CONSTRAINT IF EXISTS fk_files_owner_id_spaces")
    op.execute("DROP TRIGGER make_personal_space ON users")
    op.execute("DROP FUNCTION make_personal_space()")
    op.drop_table("members")
    op.drop_table("spaces")
