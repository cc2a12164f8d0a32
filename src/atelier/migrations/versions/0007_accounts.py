"""accounts: administrators, names, sessions that can be seen, one-time links.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TIMES = ("used_at", "ends_at", "rotated_at", "issued_at")  # of sessions
# By its index: an instance from before has somebody who looks after it.
FIRST_ADMINISTRATOR = (
    "UPDATE users SET administrator = true WHERE id = (SELECT id FROM users ORDER BY id LIMIT 1)"
)


def upgrade() -> None:
    # Nullable or with a constant default: no row is rewritten.
    op.add_column("users", sa.Column("name", sa.Text(), nullable=True))
    op.add_column(
        "users",
        sa.Column("administrator", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column("users", sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "refresh_families",
        sa.Column("kind", sa.Text(), server_default=sa.text("'token'"), nullable=False),
    )
    op.add_column("refresh_families", sa.Column("client", sa.Text(), nullable=True))
    for name in TIMES:
        op.add_column(
            "refresh_families", sa.Column(name, sa.DateTime(timezone=True), nullable=True)
        )
    op.add_column(
        "refresh_families", sa.Column("previous_sha256", sa.LargeBinary(), nullable=True)
    )
    op.add_column(
        "instance", sa.Column("sessions_keyed_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.create_table(
        "account_links",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind in ('reset', 'invite')", name=op.f("ck_account_links_kind")),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_account_links_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_links")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_account_links_token_sha256")),
    )
    op.create_index(
        op.f("ix_account_links_expires_at"), "account_links", ["expires_at"], unique=False
    )
    op.create_index(op.f("ix_account_links_user_id"), "account_links", ["user_id"], unique=False)
    op.execute(FIRST_ADMINISTRATOR)


def downgrade() -> None:
    op.drop_table("account_links")
    op.drop_column("instance", "sessions_keyed_at")
    for name in ("previous_sha256", *TIMES, "client", "kind"):
        op.drop_column("refresh_families", name)
    for name in ("disabled_at", "administrator", "name"):
        op.drop_column("users", name)
