"""The outbox table: each service has one in its own schema, and its own migration for it."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.dialects import mysql

from tidings.database.columns import MARIADB, Id, Moment, ascii_text


def outbox_table(metadata: MetaData) -> Table:
    """Return the table `outbox` in `metadata`.

    `position` grows with the order of insertion; a row is there until the broker has acknowledged it.
    """
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
        sqlite_autoincrement=True,
        **MARIADB,
    )
