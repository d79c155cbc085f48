"""Authors' names as they were typed (NFC); until now usernames were stored in NFKC."""

from tidings.database.spelling import restore_spelling

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    restore_spelling("messages", "author")


def downgrade() -> None:
    """Leave the names as they are: the code of before shows a name as it is stored."""
