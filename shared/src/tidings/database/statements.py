"""Statements that MariaDB and SQLite spell differently."""

from sqlalchemy import Insert, Table
from sqlalchemy.dialects import mysql, sqlite


def insert_new(table: Table, dialect: str) -> Insert:
    """Return an INSERT that passes over rows whose key is there already; every other error stays an error.

    MariaDB's `INSERT IGNORE` would also cut values that are too long, in silence.
    """
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    (key,) = table.primary_key.columns
    return mysql.insert(table).on_duplicate_key_update({key.name: key})
