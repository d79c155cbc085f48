"""Tables of the auth service."""

from sqlalchemy import Column, Index, Integer, String, Table

from tidings.database.columns import MARIADB, Id, Moment, ascii_text, new_metadata
from tidings.idempotency.table import idempotency_table
from tidings.outbox.table import outbox_table

metadata = new_metadata()

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True),
    Column("username", String(64), nullable=False, comment="as the person wrote it, NFC"),
    Column("username_folded", String(255), nullable=False, unique=True, comment="NFKC and case folded: unique"),
    Column("password_hash", ascii_text(255), nullable=False, comment="argon2id, with its parameters and salt"),
    Column("role", ascii_text(16), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("event_sequence", Integer, nullable=False, server_default="1"),
    Column("disabled_at", Moment, comment="since when it may not sign in; null: it may"),
    Index("ix_users_role", "role"),
    **MARIADB,
)

former_usernames = Table(
    "former_usernames",
    metadata,
    Column("username_folded", String(255), primary_key=True, comment="NFKC and case folded, as in users"),
    Column("deleted_at", Moment, nullable=False, comment="when its account was deleted"),
    **MARIADB,
)
"""Names of deleted accounts. They are never given again: what these accounts posted is still shown under them."""

sessions = Table(
    "sessions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("token_family", ascii_text(64), nullable=False, comment="SHA-256 of what its refresh tokens have in common"),
    Column("created_at", Moment, nullable=False),
    Column("last_seen_at", Moment, nullable=False, comment="when it was last refreshed"),
    Column("expires_at", Moment, nullable=False, comment="however much it is used"),
    Column("device", String(255), comment="the User-Agent that signed in or refreshed last; null once it ended"),
    Column("address", ascii_text(45), comment="of the client, as above"),
    Column("ended_at", Moment, comment="null while it is live"),
    Index("ix_sessions_user_id", "user_id"),
    Index("ix_sessions_ended_at", "ended_at"),
    Index("ix_sessions_expires_at", "expires_at"),
    **MARIADB,
)

outbox = outbox_table(metadata)
idempotency_keys = idempotency_table(metadata)
