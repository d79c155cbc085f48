"""Migrations: Alembic without an ini file, found in the checkout or in the installed package."""

from typing import Any

from alembic import command, context
from alembic.config import Config
from alembic.ddl.mysql import MySQLImpl
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from tidings.database.migration_lock import LOCK_SECONDS, migration_lock
from tidings.database.schema import WrongSchema, current_revision, head, is_ahead, location, unsuitable
from tidings.database.transactions import error_code

DONE_BEFORE = {1050, 1060, 1061, 1051, 1091}
"""MariaDB: the table, column or index is there already; the table, or the column or index, is gone already."""


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

    def migrate(connection: Connection) -> str:
        before = current_revision(connection)
        if is_ahead(connection, package):
            return f"nothing to do: the database is at revision {before}, ahead of this release's {head(package)}"
        _run(connection, package, lambda config: command.upgrade(config, revision))
        after = current_revision(connection)
        if after == head(package) and (lacks := unsuitable(connection, package)):
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


def _run(connection: Connection, package: str, operation: Any) -> None:
    config = Config()
    config.set_main_option("script_location", str(location(package)).replace("%", "%%"))
    config.attributes["connection"] = connection
    if connection.dialect.name == "mysql":  # inside an open transaction Alembic would not commit each migration
        connection.rollback()
    operation(config)
