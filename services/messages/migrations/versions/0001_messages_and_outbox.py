"""Messages and outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from tidings.database.columns import MARIADB, Id, Moment
from tidings.outbox.schema import create_outbox

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "messages",
        sa.Column("id", Id, nullable=False, comment="UUIDv7: the order of ids is the order of posting"),
        sa.Column("author_id", Id, nullable=False),
        sa.Column("author", sa.String(64), nullable=False, comment="the author's username"),
        sa.Column("message", sa.Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb"), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        **MARIADB,
    )
    create_outbox()


def downgrade() -> None:
    op.drop_table("outbox")
    op.drop_table("messages")
