"""The outbox's schema, one step for each version; a service's migration calls the step, so all outboxes are alike."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from tidings.database.columns import MARIADB, Id, Moment, ascii_text
from tidings.database.statements import insert_new


def create_outbox() -> None:
    """Create the table `outbox`, version 1."""
    op.create_table(
        "outbox",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=True),
        sa.Column("event_id", Id, nullable=False),
        sa.Column("topic", ascii_text(249), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("headers", sa.Text, nullable=False, comment="JSON: list of [name, text]"),
        sa.Column("value", sa.LargeBinary().with_variant(mysql.MEDIUMBLOB, "mysql", "mariadb"), nullable=False),
        sa.Column("trace_context", sa.Text, nullable=False, comment="JSON: traceparent and tracestate of the request"),
        sa.Column("recorded_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_outbox")),
        sa.UniqueConstraint("event_id", name=op.f("uq_outbox_event_id")),
        sqlite_autoincrement=True,
        **MARIADB,
    )


def add_parking_and_lease() -> None:
    """Add what version 2 has: parked rows with their reason, and the lease of the relay."""
    op.add_column("outbox", sa.Column("parked_at", Moment))
    op.add_column("outbox", sa.Column("parked_reason", sa.String(500)))
    op.create_index(op.f("ix_outbox_parked_at"), "outbox", ["parked_at"])
    lease = op.create_table(
        "outbox_lease",
        sa.Column("name", ascii_text(32), nullable=False),
        sa.Column("holder", sa.String(255), nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False, comment="the database's clock, milliseconds since 1970"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_outbox_lease")),
        **MARIADB,
    )
    # On MariaDB this runs again when the migration was killed in its middle.
    op.execute(insert_new(lease, op.get_bind().dialect.name).values(name="relay", holder="", expires_ms=0))


def drop_parking_and_lease() -> None:
    """Go back to version 1."""
    op.drop_table("outbox_lease")
    op.drop_index(op.f("ix_outbox_parked_at"), "outbox")
    op.drop_column("outbox", "parked_reason")
    op.drop_column("outbox", "parked_at")
