"""Migrations: Alembic without an ini file, found in the checkout or in the installed package."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

from tidings.database.engine import WRITES


class SchemaBehind(Exception):
    """The database lacks a migration; the message names the missing revision."""


def location(package: str) -> Path:
    """Return the folder of `package`'s migrations: inside an installed wheel, beside `src/` in a checkout."""
    inside = Path(str(files(package))) / "migrations"
    return inside if inside.is_dir() else inside.parents[2] / "migrations"


async def upgrade(engine: AsyncEngine, package: str, revision: str = "head") -> None:
    """Bring the database of `engine` to `revision`."""
    await _run(engine, lambda config: command.upgrade(config, revision), package)


async def downgrade(engine: AsyncEngine, package: str, revision: str = "base") -> None:
    """Bring the database of `engine` back to `revision`."""
    await _run(engine, lambda config: command.downgrade(config, revision), package)


async def check_models(engine: AsyncEngine, package: str) -> None:
    """Raise Alembic's `CommandError` when the tables in the code differ from those in the database."""
    await _run(engine, command.check, package)


async def require_head(engine: AsyncEngine, package: str) -> None:
    """Check that the database has every migration of `package`; one that is ahead is fine.

    Raises:
        SchemaBehind: naming the revision that is missing.
    """
    scripts = ScriptDirectory(str(location(package)))
    known = {script.revision for script in scripts.walk_revisions()}
    async with engine.connect() as connection, connection.begin():
        current = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    head = scripts.get_current_head()
    if current != head and (current is None or current in known):
        raise SchemaBehind(f"the database is at revision {current}, {head} is missing: run python -m {package} migrate")


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


async def _run(engine: AsyncEngine, operation: Any, package: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(location(package)).replace("%", "%%"))

    def on(connection: Connection) -> None:
        config.attributes["connection"] = connection
        operation(config)

    async with engine.connect() as connection:
        await connection.execution_options(**{WRITES: True})
        if engine.dialect.name == "mysql":  # rebuilding a large table takes longer than any request may
            await connection.exec_driver_sql("SET SESSION max_statement_time=0")
        await connection.run_sync(on)
        await connection.commit()
