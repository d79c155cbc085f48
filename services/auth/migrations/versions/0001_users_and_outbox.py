"""Users and outbox."""

import sqlalchemy as sa
from alembic import op

from tidings.database.columns import MARIADB, Id, Moment, ascii_text
from tidings.outbox.schema import create_outbox

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", Id, nullable=False),
        sa.Column("username", sa.String(64), nullable=False, comment="as the person wrote it, NFKC"),
        sa.Column("username_folded", sa.String(255), nullable=False, comment="NFKC and case folded: unique"),
        sa.Column("password_hash", ascii_text(255), nullable=False, comment="argon2id, with its parameters and salt"),
        sa.Column("role", ascii_text(16), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username_folded", name=op.f("uq_users_username_folded")),
        **MARIADB,
    )
    create_outbox()


def downgrade() -> None:
    op.drop_table("outbox")
    op.drop_table("users")
