"""Migrations: Alembic without an ini file, found in the checkout or in the installed package.

Revisions are numbered, `0001` and on, each after the one before. So a database that a newer release has migrated is
told from one that is not this service's, and whether it suits this release is looked up in its columns.
"""

import re
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from alembic import command, context
from alembic.config import Config
from alembic.ddl.mysql import MySQLImpl
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from tidings.database.migration_lock import LOCK_SECONDS, migration_lock
from tidings.database.transactions import error_code

REVISION = re.compile(r"[0-9]{4}")

DONE_BEFORE = {1050, 1060, 1061, 1051, 1091}
"""MariaDB: the table, column or index is there already; the table, or the column or index, is gone already."""


class WrongSchema(Exception):
    """The database's schema does not suit this release; the message says why, and what to do."""


class SchemaBehind(WrongSchema):
    """The database lacks a migration; the message names the missing revision."""


class RepeatableMariaDB(MySQLImpl):
    """Runs a migration again that was killed in its middle.

    MariaDB commits each change of the schema by itself, so some changes of the killed run are there. They are skipped.
    """

    __dialect__ = "mysql"

    def _exec(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super()._exec(*arguments, **options)
        except DBAPIError as error:
            if error_code(error) not in DONE_BEFORE:
                raise
            return None


def location(package: str) -> Path:
    """Return the folder of `package`'s migrations: inside an installed wheel, beside `src/` in a checkout."""
    inside = Path(str(files(package))) / "migrations"
    return inside if inside.is_dir() else inside.parents[2] / "migrations"


async def upgrade(engine: AsyncEngine, package: str, revision: str = "head", wait: float = LOCK_SECONDS) -> str:
    """Bring the database of `engine` to `revision`; one that is ahead of this release stays as it is.

    Only one migration of a database runs at a time. One that was killed is finished by the next.

    Args:
        engine: of the database.
        package: the service's import name; its migrations, and its tables in `<package>.tables`, are found by it.
        revision: how far to go.
        wait: seconds to wait for another migration that runs.

    Returns:
        One line that says what was done.

    Raises:
        MigrationLocked: another migration did not end within `wait`.
        WrongSchema: the database is another service's, or does not suit this release.
    """
    scripts = _scripts(package)

    def migrate(connection: Connection) -> str:
        before = _revision(connection)
        if _is_ahead(connection, package):
            return f"nothing to do: the database is at revision {before}, ahead of this release's {_head(scripts)}"
        _run(connection, package, lambda config: command.upgrade(config, revision))
        after = _revision(connection)
        if after == _head(scripts) and (lacks := _unsuitable(connection, package)):
            raise WrongSchema(f"the database had other tables before its migrations: it {lacks}; use an empty database")
        if after == before:
            return f"nothing to do: the database is at revision {after}"
        return f"the database is now at revision {after}; " + (f"it was at {before}" if before else "it was empty")

    async with migration_lock(engine, wait) as connection:
        line = await connection.run_sync(migrate)
        await connection.commit()
    return line


async def downgrade(engine: AsyncEngine, package: str, revision: str = "base") -> None:
    """Bring the database of `engine` back to `revision`."""
    async with migration_lock(engine, LOCK_SECONDS) as connection:
        await connection.run_sync(_run, package, lambda config: command.downgrade(config, revision))
        await connection.commit()


async def check_models(engine: AsyncEngine, package: str) -> None:
    """Raise Alembic's `CommandError` when the tables in the code differ from those in the database."""
    async with engine.connect() as connection:
        await connection.run_sync(_run, package, command.check)


async def require_head(engine: AsyncEngine, package: str) -> None:
    """Check that the database has every migration of `package`; one that is ahead is fine when it suits this release.

    Raises:
        SchemaBehind: naming the revision that is missing.
        WrongSchema: the database is another service's, or does not suit this release.
    """
    head = _head(_scripts(package))

    def check(connection: Connection) -> None:
        current = _revision(connection)
        if current != head and not _is_ahead(connection, package):
            missing = f"the database is at revision {current}, {head} is missing"
            raise SchemaBehind(f"{missing}: run python -m {package} migrate")

    async with engine.connect() as connection, connection.begin():
        await connection.run_sync(check)


def run_environment(metadata: MetaData) -> None:
    """Do what a service's `env.py` is for: run migrations on the connection that the caller opened."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        compare_type=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _scripts(package: str) -> ScriptDirectory:
    return ScriptDirectory(str(location(package)))


def _head(scripts: ScriptDirectory) -> str:
    head = scripts.get_current_head()
    assert head  # every service has migrations
    return head


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _is_ahead(connection: Connection, package: str) -> bool:
    """Return whether a newer release has migrated the database.

    Raises:
        WrongSchema: the database is another service's, or does not suit this release.
    """
    scripts, current = _scripts(package), _revision(connection)
    if current is None or current in {script.revision for script in scripts.walk_revisions()}:
        return False
    if not REVISION.fullmatch(current) or current < _head(scripts):
        raise WrongSchema(
            f"the database is at revision {current!r}, which {package} never had: is it another's database?"
        )
    if lacks := _unsuitable(connection, package):
        ahead = f"the database is at revision {current}, ahead of this release's {_head(scripts)}, and {lacks}"
        raise WrongSchema(f"{ahead}: use the release that migrated it, or this service's own database")
    return True


def _unsuitable(connection: Connection, package: str) -> str | None:
    """Return what this release needs and the database lacks, or demands and this release does not give; else `None`."""
    metadata: MetaData = import_module(f"{package}.tables").metadata
    found = {
        table: {column["name"]: column for column in columns}
        for (_, table), columns in inspect(connection).get_multi_columns().items()
    }
    tables = metadata.sorted_tables
    lacking = [str(column) for table in tables for column in table.c if column.name not in found.get(table.name, {})]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    demanded = [
        f"{table.name}.{name}"
        for table in tables
        for name, column in found[table.name].items()
        if name not in table.c and not _fills_itself(column)
    ]
    return f"demands {', '.join(demanded)}" if demanded else None


def _fills_itself(column: ReflectedColumn) -> bool:
    """Return whether an INSERT need not give the column a value; SQLite numbers a primary key itself."""
    numbered = column.get("autoincrement") is True or bool(column.get("primary_key"))
    return column["nullable"] or column["default"] is not None or numbered


def _run(connection: Connection, package: str, operation: Any) -> None:
    config = Config()
    config.set_main_option("script_location", str(location(package)).replace("%", "%%"))
    config.attributes["connection"] = connection
    if connection.dialect.name == "mysql":  # inside an open transaction Alembic would not commit each migration
        connection.rollback()
    operation(config)
