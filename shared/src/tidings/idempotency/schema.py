"""The schema of idempotency keys, one step for each version; a service's migration calls the step."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from tidings.database.columns import MARIADB, Digest, Moment


def create_idempotency_keys() -> None:
    """Create the table `idempotency_keys`, version 1."""
    op.create_table(
        "idempotency_keys",
        sa.Column("id", Digest, nullable=False, comment="SHA-256 of caller, key and operation"),
        sa.Column("fingerprint", Digest, nullable=False, comment="HMAC-SHA-256 of the request"),
        sa.Column(
            "answer", sa.Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb"), comment="JSON: the first result"
        ),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
        **MARIADB,
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"])


def drop_idempotency_keys() -> None:
    """Go back to before version 1."""
    op.drop_table("idempotency_keys")
