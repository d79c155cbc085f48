"""Positions: where reading goes on in each partition.

Until there is a row, reading goes on where Kafka's group offset says.
"""

import sqlalchemy as sa
from alembic import op

from tidings.database.columns import MARIADB, ascii_text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "positions",
        sa.Column("consumer_group", sa.String(255), primary_key=True),
        sa.Column("topic", ascii_text(249), primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False, comment="of the first record that is not stored yet"),
        **MARIADB,
    )


def downgrade() -> None:
    op.drop_table("positions")
