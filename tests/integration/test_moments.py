"""The database's clock: the same expression on MariaDB and SQLite, comparable with what is stored."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import Column, Integer, Table, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.servers import RealServers
from tidings.composition import Parts
from tidings.database.columns import MARIADB, Moment, new_metadata
from tidings.database.engine import create_engine
from tidings.database.migrations import upgrade
from tidings.database.moments import ClocksDiffer, database_now, require_same_clock
from tidings.database.settings import DatabaseSettings
from tidings.http.health import readiness
from tidings.telemetry.setup import Telemetry
from tidings_local.backends import Backends

metadata = new_metadata()
moments = Table("moments", metadata, Column("id", Integer, primary_key=True), Column("at", Moment), **MARIADB)


@pytest.fixture
async def engine(backends: Backends) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(DatabaseSettings(url=SecretStr(backends.database("moments"))))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield engine
    await engine.dispose()


async def test_database_now_lies_between_before_and_after(engine: AsyncEngine) -> None:
    before = datetime.now(UTC)
    async with engine.connect() as connection:
        now, later = (await connection.execute(select(database_now(), database_now(timedelta(days=31))))).one()
    after = datetime.now(UTC)
    tolerance = timedelta(milliseconds=1)  # SQLite's clock counts in milliseconds
    assert before - tolerance <= now <= after
    assert abs(later - now - timedelta(days=31)) <= tolerance


@pytest.mark.parametrize("offset", [timedelta(hours=-25), timedelta(microseconds=-1_500), timedelta(seconds=90)])
async def test_stored_moment_compares_with_database_now(engine: AsyncEngine, offset: timedelta) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(moments).values(id=1, at=database_now(offset)))
        is_past = moments.c.at < database_now()
        row = (await connection.execute(select(moments.c.at, is_past.label("is_past")))).one()
    assert bool(row.is_past) == (offset < timedelta())
    assert abs(row.at - datetime.now(UTC) - offset) < timedelta(seconds=5)


async def test_clock_that_differs_by_more_than_allowed_is_named(engine: AsyncEngine) -> None:
    await require_same_clock(engine, timedelta(seconds=2))
    with pytest.raises(ClocksDiffer, match=r"this host's clock is .* s (ahead of|behind) the database's"):
        await require_same_clock(engine, timedelta(seconds=-1))


async def test_clock_difference_names_its_own_setting(backends: Backends) -> None:
    settings = DatabaseSettings(url=SecretStr(backends.database("moments")))
    async with AsyncExitStack() as stack:
        parts = Parts(stack, Telemetry("test"))
        parts.background_database(settings.model_copy(update={"max_clock_difference_seconds": -1}), "tidings_messages")
        clock = (await readiness(parts.health)).dependencies["clock"]
    assert not clock.ok
    assert clock.setting == "TIDINGS_DATABASE_MAX_CLOCK_DIFFERENCE_SECONDS"


@pytest.mark.real
async def test_read_only_database_is_not_ready(servers: RealServers) -> None:
    """Each write would be answered 503 while the balancer sends people here."""
    name = f"read_only_{uuid4().hex[:8]}"
    servers.mariadb.create_database(name)
    settings = DatabaseSettings(url=SecretStr(servers.mariadb.url(name)))
    async with AsyncExitStack() as stack:
        parts = Parts(stack, Telemetry("test"))
        engine = parts.background_database(settings, "tidings_messages").engine
        await upgrade(engine, "tidings_messages")
        assert (await readiness(parts.health)).ready
        await set_read_only(engine, True)
        try:
            found = await readiness(parts.health)
        finally:
            await set_read_only(engine, False)
        assert not found.ready
        reason = found.dependencies["database"].reason
        assert reason
        assert "read-only" in reason
        assert (await readiness(parts.health)).ready


async def set_read_only(engine: AsyncEngine, on: bool) -> None:
    async with engine.connect() as connection:
        await connection.execute(text(f"SET GLOBAL read_only = {int(on)}"))
