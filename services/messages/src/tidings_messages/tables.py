"""Tables of the messages service."""

from sqlalchemy import Column, Integer, String, Table, Text
from sqlalchemy.dialects import mysql

from tidings.database.columns import MARIADB, Id, Moment, new_metadata
from tidings.idempotency.table import idempotency_table
from tidings.outbox.table import outbox_table

metadata = new_metadata()

messages = Table(
    "messages",
    metadata,
    Column("id", Id, primary_key=True, comment="UUIDv7: the order of ids is the order of posting"),
    Column("author_id", Id, nullable=False),
    Column("author", String(64), nullable=False, comment="the author's username"),
    Column("message", Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb"), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("event_sequence", Integer, nullable=False, server_default="1"),
    **MARIADB,
)

outbox = outbox_table(metadata)
idempotency_keys = idempotency_table(metadata)
