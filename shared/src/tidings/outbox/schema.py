"""The outbox's schema, one step for each version; a service's migration calls the step, so all outboxes are alike."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from tidings.database.columns import MARIADB, Id, Moment, ascii_text


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
