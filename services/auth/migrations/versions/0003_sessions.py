"""Sessions, and accounts that may not sign in."""

import sqlalchemy as sa
from alembic import op

from tidings.database.columns import MARIADB, Id, Moment, ascii_text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column(
            "token_family",
            ascii_text(64),
            nullable=False,
            comment="SHA-256 of what its refresh tokens have in common",
        ),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("last_seen_at", Moment, nullable=False, comment="when it was last refreshed"),
        sa.Column("expires_at", Moment, nullable=False, comment="however much it is used"),
        sa.Column(
            "device", sa.String(255), comment="the User-Agent that signed in or refreshed last; null once it ended"
        ),
        sa.Column("address", ascii_text(45), comment="of the client, as above"),
        sa.Column("ended_at", Moment, comment="null while it is live"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        **MARIADB,
    )
    for column in ("user_id", "ended_at", "expires_at"):
        op.create_index(f"ix_sessions_{column}", "sessions", [column])
    op.add_column("users", sa.Column("disabled_at", Moment, comment="since when it may not sign in; null: it may"))
    op.create_index("ix_users_role", "users", ["role"])


def downgrade() -> None:
    op.drop_index("ix_users_role", "users")
    op.drop_column("users", "disabled_at")
    op.drop_table("sessions")
