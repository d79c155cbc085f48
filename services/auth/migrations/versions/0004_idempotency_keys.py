"""Idempotency keys."""

from tidings.idempotency.schema import create_idempotency_keys, drop_idempotency_keys

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    create_idempotency_keys()


def downgrade() -> None:
    drop_idempotency_keys()
