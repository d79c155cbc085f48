"""The outbox table: each service has one in its own schema, and its own migration for it."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.dialects import mysql

from tidings.database.columns import MARIADB, Id, Moment, ascii_text


def outbox_table(metadata: MetaData) -> Table:
    """Return the table `outbox` in `metadata`.

    `position` grows with the order of insertion; a row is there until the broker has acknowledged it. A row that the
    broker refuses is parked: it stays, with its reason, and holds back the later rows of its own key only.

    Beside it stands the table `outbox_lease`, whose one row says which relay is at work.
    """
    lease_table(metadata)
    return Table(
        "outbox",
        metadata,
        Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("event_id", Id, nullable=False, unique=True),
        Column("topic", ascii_text(249), nullable=False),
        Column("key", String(255), nullable=False),
        Column("headers", Text, nullable=False, comment="JSON: list of [name, text]"),
        Column("value", LargeBinary().with_variant(mysql.MEDIUMBLOB, "mysql", "mariadb"), nullable=False),
        Column("trace_context", Text, nullable=False, comment="JSON: traceparent and tracestate of the request"),
        Column("recorded_at", Moment, nullable=False),
        Column("parked_at", Moment, index=True),
        Column("parked_reason", String(500)),
        sqlite_autoincrement=True,
        **MARIADB,
    )


def lease_table(metadata: MetaData) -> Table:
    """Return the table `outbox_lease` in `metadata`."""
    return Table(
        "outbox_lease",
        metadata,
        Column("name", ascii_text(32), primary_key=True),
        Column("holder", String(255), nullable=False),
        Column("expires_ms", BigInteger, nullable=False, comment="the database's clock, milliseconds since 1970"),
        **MARIADB,
    )
