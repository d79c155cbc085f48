"""Parked rows, the lease of the relay, and the number of each aggregate's last event."""

import sqlalchemy as sa
from alembic import op

from tidings.outbox.schema import add_parking_and_lease, drop_parking_and_lease

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    add_parking_and_lease()
    op.add_column("messages", sa.Column("event_sequence", sa.Integer, nullable=False, server_default="1"))


def downgrade() -> None:
    op.drop_column("messages", "event_sequence")
    drop_parking_and_lease()
