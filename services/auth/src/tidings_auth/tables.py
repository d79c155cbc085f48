"""Tables of the auth service."""

from sqlalchemy import Column, Integer, String, Table

from tidings.database.columns import MARIADB, Id, Moment, ascii_text, new_metadata
from tidings.outbox.table import outbox_table

metadata = new_metadata()

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True),
    Column("username", String(64), nullable=False, comment="as the person wrote it, NFKC"),
    Column("username_folded", String(255), nullable=False, unique=True, comment="NFKC and case folded: unique"),
    Column("password_hash", ascii_text(255), nullable=False, comment="argon2id, with its parameters and salt"),
    Column("role", ascii_text(16), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("event_sequence", Integer, nullable=False, server_default="1"),
    **MARIADB,
)

outbox = outbox_table(metadata)
