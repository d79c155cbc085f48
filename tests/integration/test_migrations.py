"""Migrations: up, down and up again on both databases, and afterwards the tables are those of the code."""

from collections.abc import AsyncIterator

import pytest
from alembic.util import CommandError
from pydantic import SecretStr
from sqlalchemy import inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidings.database.engine import create_engine
from tidings.database.migrations import SchemaBehind, check_models, downgrade, require_head, upgrade
from tidings.database.settings import DatabaseSettings
from tidings_local.backends import Backends

PACKAGES = ["tidings_auth", "tidings_messages", "tidings_log_consumer"]


@pytest.fixture
async def engine(backends: Backends) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(DatabaseSettings(url=SecretStr(backends.database("migrated"))))
    yield engine
    await engine.dispose()


async def tables(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    return set(names) - {"sqlite_sequence"}


@pytest.mark.parametrize("package", PACKAGES)
async def test_up_down_up_leaves_the_tables_of_the_code(package: str, engine: AsyncEngine) -> None:
    await upgrade(engine, package)
    await check_models(engine, package)
    await downgrade(engine, package)
    assert await tables(engine) == {"alembic_version"}
    await upgrade(engine, package)
    await upgrade(engine, package)
    await check_models(engine, package)
    await require_head(engine, package)


async def test_the_check_sees_a_table_that_the_code_does_not_have(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_messages")
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE stray (id INTEGER PRIMARY KEY)"))
    with pytest.raises(CommandError, match="stray"):
        await check_models(engine, "tidings_messages")


async def test_a_database_without_migrations_is_named_by_the_missing_revision(engine: AsyncEngine) -> None:
    with pytest.raises(SchemaBehind, match="0003 is missing: run python -m tidings_messages migrate"):
        await require_head(engine, "tidings_messages")


async def test_a_database_that_is_ahead_is_accepted(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_messages")
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await require_head(engine, "tidings_messages")


async def test_a_new_installation_has_no_account(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_auth")
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT COUNT(*) FROM users"))).scalar_one() == 0
