"""Column types that mean the same on MariaDB and SQLite."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, LargeBinary, MetaData, String, TypeDecorator
from sqlalchemy.dialects import mysql

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

MARIADB: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    # The usual collations hold all emoji for equal, and 'a' for 'á'.
    "mysql_collate": "utf8mb4_nopad_bin",
}
"""Table options; every table gives them, so that it does not depend on the server's defaults."""


def new_metadata() -> MetaData:
    """Return a schema whose constraints have names, so that migrations can change them."""
    return MetaData(naming_convention=NAMING)


class Id(TypeDecorator[UUID]):
    """A UUID in 16 bytes, ordered as its bytes are: a UUIDv7 key keeps rows in the order they came."""

    # SQLite would hold a BINARY column for a number; LargeBinary is a BLOB there.
    impl = LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: UUID | None, dialect: Any) -> bytes | None:
        return value.bytes if value is not None else None

    def process_result_value(self, value: Any, dialect: Any) -> UUID | None:
        return UUID(bytes=bytes(value)) if value is not None else None


Digest = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
"""A SHA-256 digest, as its 32 bytes."""


class Moment(TypeDecorator[datetime]):
    """A moment in UTC with microseconds; refuses a datetime without a zone."""

    impl = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None else None


def ascii_text(length: int) -> String:
    """Return a column type for names and ids that are ASCII: compared byte by byte, one byte each in an index."""
    return String(length).with_variant(
        mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
    )
