"""Statements that MariaDB and SQLite spell differently."""

from typing import Any

from sqlalchemy import Delete, Insert, Table
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.ext.compiler import compiles


def insert_new(table: Table, dialect: str) -> Insert:
    """Return an INSERT that passes over rows whose key is there already; every other error stays an error.

    MariaDB's `INSERT IGNORE` would also cut values that are too long, in silence.
    """
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    (key,) = table.primary_key.columns
    return mysql.insert(table).on_duplicate_key_update({key.name: key})


def insert_or_replace(table: Table, dialect: str) -> Insert:
    """Return an INSERT that gives the row whose key is there already the new values of all other columns."""
    others = [column.name for column in table.columns if not column.primary_key]
    if dialect == "sqlite":
        on_sqlite = sqlite.insert(table)
        values = {name: on_sqlite.excluded[name] for name in others}
        return on_sqlite.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)
    on_mariadb = mysql.insert(table)
    return on_mariadb.on_duplicate_key_update({name: on_mariadb.inserted[name] for name in others})


class _InsertAtOnce(Insert):
    inherit_cache = True


@compiles(_InsertAtOnce, "mysql")
def _without_waiting(statement: _InsertAtOnce, compiler: Any, **options: Any) -> str:
    return f"SET STATEMENT innodb_lock_wait_timeout=0 FOR {compiler.visit_insert(statement, **options)}"


def insert_at_once(table: Table) -> Insert:
    """Return an INSERT that fails with a lock wait (1205) when another open transaction inserted the same key.

    SQLite has one writer at a time, so there the other one is finished.
    """
    return _InsertAtOnce(table)


class _DeleteWithin(Delete):
    inherit_cache = False  # the compiled text has the seconds
    seconds: float


@compiles(_DeleteWithin, "mysql")
def _with_time_limit(statement: _DeleteWithin, compiler: Any, **options: Any) -> str:
    return f"SET STATEMENT max_statement_time={statement.seconds} FOR {compiler.visit_delete(statement, **options)}"


def delete_within(table: Table, seconds: float) -> Delete:
    """Return a DELETE that MariaDB ends after so many seconds, whatever its session's limit is."""
    statement = _DeleteWithin(table)
    statement.seconds = seconds
    return statement
