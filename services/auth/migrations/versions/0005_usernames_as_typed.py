"""Usernames as they were typed (NFC); until now they were stored in NFKC."""

import sqlalchemy as sa
from alembic import op

from tidings.database.spelling import restore_spelling

revision = "0005"
down_revision = "0004"

NFKC = "as the person wrote it, NFKC"
NFC = "as the person wrote it, NFC"


def upgrade() -> None:
    restore_spelling("users", "username")
    _comment(NFC, instead_of=NFKC)


def downgrade() -> None:
    """Leave the names as they are: the code of before shows a name as it is stored, and finds it by its folded form."""
    _comment(NFKC, instead_of=NFC)


def _comment(text: str, instead_of: str) -> None:
    if op.get_bind().dialect.name == "mysql":  # SQLite has no comments
        op.alter_column(
            "users",
            "username",
            comment=text,
            existing_comment=instead_of,
            existing_type=sa.String(64),
            existing_nullable=False,
        )
