"""Tables of the log consumer."""

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, String, Table, Text, UniqueConstraint
from sqlalchemy.dialects import mysql

from tidings.database.columns import MARIADB, Id, Moment, ascii_text, new_metadata

metadata = new_metadata()

TYPE_LENGTH = 100

positions = Table(
    "positions",
    metadata,
    Column("consumer_group", String(255), primary_key=True),
    Column("topic", ascii_text(249), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False, comment="of the first record that is not stored yet"),
    **MARIADB,
)

entries = Table(
    "entries",
    metadata,
    Column(
        "number",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
        comment="in the order of storing; tells entries of one moment apart",
    ),
    Column("event_id", Id, nullable=False, comment="ce_id"),
    Column("type", ascii_text(TYPE_LENGTH), nullable=False, comment="without prefix and version, e.g. message.created"),
    Column("service", String(255), nullable=False, comment="ce_source"),
    Column("user_id", Id),
    Column("username", String(64)),
    Column("method", String(16)),
    Column("route", String(255)),
    Column("status", SmallInteger),
    Column("trace_id", ascii_text(32)),
    Column("span_id", ascii_text(16)),
    Column("occurred_at", Moment, nullable=False),
    Column("published_at", Moment, nullable=False),
    Column("stored_at", Moment, nullable=False),
    Column("topic", ascii_text(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("data", Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb"), nullable=False, comment="JSON"),
    # CloudEvents: source and id identify an event. The topic, because Kafka grants the right to write by topic.
    UniqueConstraint("event_id", "service", "topic"),
    Index(None, "occurred_at", "number"),
    Index(None, "trace_id", "occurred_at", "number"),
    Index(None, "type", "occurred_at", "number"),
    Index(None, "user_id", "occurred_at", "number"),
    sqlite_autoincrement=True,
    **MARIADB,
)
