"""Names of deleted accounts, which are never given again; those deleted until now are not known."""

import sqlalchemy as sa
from alembic import op

from tidings.database.columns import MARIADB, Moment

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "former_usernames",
        sa.Column("username_folded", sa.String(255), nullable=False, comment="NFKC and case folded, as in users"),
        sa.Column("deleted_at", Moment, nullable=False, comment="when its account was deleted"),
        sa.PrimaryKeyConstraint("username_folded", name=op.f("pk_former_usernames")),
        **MARIADB,
    )


def downgrade() -> None:
    op.drop_table("former_usernames")
