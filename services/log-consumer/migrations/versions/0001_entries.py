"""Entries."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from tidings.database.columns import MARIADB, Id, Moment, ascii_text

revision = "0001"
down_revision = None

INDEXES = {
    "ix_entries_occurred_at_event_id": ["occurred_at", "event_id"],
    "ix_entries_trace_id_occurred_at_event_id": ["trace_id", "occurred_at", "event_id"],
    "ix_entries_type_occurred_at_event_id": ["type", "occurred_at", "event_id"],
    "ix_entries_user_id_occurred_at_event_id": ["user_id", "occurred_at", "event_id"],
}


def upgrade() -> None:
    op.create_table(
        "entries",
        sa.Column("event_id", Id, nullable=False, comment="the event's own id: each event is stored once"),
        sa.Column("type", ascii_text(100), nullable=False, comment="without prefix and version, e.g. message.created"),
        sa.Column("service", sa.String(255), nullable=False, comment="ce_source"),
        sa.Column("user_id", Id),
        sa.Column("username", sa.String(64)),
        sa.Column("method", sa.String(16)),
        sa.Column("route", sa.String(255)),
        sa.Column("status", sa.SmallInteger),
        sa.Column("trace_id", ascii_text(32)),
        sa.Column("span_id", ascii_text(16)),
        sa.Column("occurred_at", Moment, nullable=False),
        sa.Column("published_at", Moment, nullable=False),
        sa.Column("stored_at", Moment, nullable=False),
        sa.Column("topic", ascii_text(249), nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("data", sa.Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb"), nullable=False, comment="JSON"),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_entries")),
        **MARIADB,
    )
    for name, columns in INDEXES.items():
        op.create_index(op.f(name), "entries", columns)


def downgrade() -> None:
    op.drop_table("entries")
