"""Transactions: retried as a whole, in time, and never told of before they are true."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, String, Table, event, insert, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from faults.proxy import Mode, Proxy, open_proxies
from support.servers import RealServers
from tidings.database.columns import MARIADB
from tidings.database.engine import create_engine
from tidings.database.settings import DatabaseSettings
from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings_local.backends import Backends

metadata = MetaData()
notes = Table("notes", metadata, Column("id", Integer, primary_key=True), Column("text", String(50)), **MARIADB)


@pytest.fixture
async def database(backends: Backends) -> AsyncIterator[Database]:
    settings = DatabaseSettings(url=SecretStr(backends.database("notes")))
    engine = create_engine(settings)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(insert(notes), [{"id": 1, "text": "one"}, {"id": 2, "text": "two"}])
    yield Database(engine, settings.deadline_seconds)
    await engine.dispose()


async def texts(database: Database) -> list[str]:
    async def read(connection: AsyncConnection) -> list[str]:
        return list((await connection.execute(select(notes.c.text).order_by(notes.c.id))).scalars())

    return await database.read(read)


async def test_what_is_committed_is_told_and_what_is_rolled_back_is_not(database: Database) -> None:
    told: list[str] = []

    async def write(transaction: Transaction) -> None:
        transaction.after_commit(lambda: told.append("committed"))
        await transaction.execute(insert(notes).values(id=3, text="three"))

    await database.run_in_transaction(write)
    assert told == ["committed"]

    async def fail(transaction: Transaction) -> None:
        transaction.after_commit(lambda: told.append("never"))
        await transaction.execute(insert(notes).values(id=4, text="four"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await database.run_in_transaction(fail)
    assert told == ["committed"]
    assert await texts(database) == ["one", "two", "three"]


async def test_a_failing_commit_is_an_error_and_is_not_told(database: Database) -> None:
    told: list[str] = []

    def lose(_: Connection) -> None:
        raise OperationalError("COMMIT", {}, Exception("lost"))

    async def write(transaction: Transaction) -> None:
        transaction.after_commit(lambda: told.append("never"))
        await transaction.execute(insert(notes).values(id=3, text="three"))

    event.listen(Engine, "commit", lose)
    try:
        with pytest.raises(DatabaseUnavailable):
            await database.run_in_transaction(write)
    finally:
        event.remove(Engine, "commit", lose)
    assert told == []
    assert await texts(database) == ["one", "two"]


async def test_many_writers_at_once_all_succeed(database: Database) -> None:
    async def write(number: int) -> None:
        async def work(transaction: Transaction) -> None:
            await transaction.execute(insert(notes).values(id=number, text=str(number)))

        await database.run_in_transaction(work)

    await asyncio.gather(*(write(number) for number in range(10, 60)))
    assert len(await texts(database)) == 52


async def test_a_deadlock_runs_the_whole_function_again(database: Database) -> None:
    """On MariaDB the two lock the same rows in opposite order; SQLite has one writer at a time, so nothing collides."""
    runs = 0
    both = asyncio.Barrier(2)

    async def crosswise(first: int, second: int) -> None:
        met = False

        async def work(transaction: Transaction) -> None:
            nonlocal runs, met
            runs += 1
            await transaction.execute(update(notes).where(notes.c.id == first).values(text=f"{first}{second}"))
            if not met and database.dialect == "mysql":
                met = True
                await both.wait()
            await transaction.execute(update(notes).where(notes.c.id == second).values(text=f"{first}{second}"))

        await database.run_in_transaction(work)

    await asyncio.gather(crosswise(1, 2), crosswise(2, 1))
    assert runs == (3 if database.dialect == "mysql" else 2)
    assert (await texts(database))[0] == (await texts(database))[1]


async def test_work_that_takes_too_long_is_given_up_and_leaves_nothing(database: Database) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute(insert(notes).values(id=3, text="three"))
        await asyncio.sleep(60)

    with pytest.raises(DatabaseUnavailable):
        await Database(database.engine, 0.2).run_in_transaction(work)
    assert await texts(database) == ["one", "two"]


async def test_a_database_that_is_not_there_is_unavailable_soon() -> None:
    engine = create_engine(DatabaseSettings(url=SecretStr("mysql+aiomysql://root@127.0.0.1:9/none")))
    database = Database(engine, 1.0)

    async def read(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        await database.read(read)
    await engine.dispose()


async def test_an_error_of_the_database_does_not_show_what_was_written(database: Database) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute(insert(notes).values(id=1, text="canary-text"))

    with pytest.raises(Exception, match="INSERT") as caught:
        await database.run_in_transaction(work)
    assert "canary-text" not in str(caught.value)


@pytest.fixture
async def behind_proxy(servers: RealServers) -> AsyncIterator[tuple[Database, Proxy]]:
    """A database whose connections may be cut."""
    mariadb = servers.mariadb
    mariadb.create_database("behind_proxy")
    with open_proxies() as proxies:
        proxy = proxies.to(mariadb.port)
        url = mariadb.url("behind_proxy").replace(f":{mariadb.port}/", f":{proxy.port}/")
        engine = create_engine(DatabaseSettings(url=SecretStr(url), deadline_seconds=1))
        yield Database(engine, 1), proxy
        await engine.dispose()


@pytest.mark.real
async def test_a_read_ends_when_the_end_of_its_transaction_is_swallowed(
    behind_proxy: tuple[Database, Proxy],
) -> None:
    database, proxy = behind_proxy

    async def read(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT 1"))
        proxy.become(Mode.BLACK_HOLE)

    async with asyncio.timeout(5):
        with pytest.raises(DatabaseUnavailable):
            await database.read(read)


@pytest.mark.real
async def test_what_is_committed_is_told_when_the_connection_dies_right_after(
    behind_proxy: tuple[Database, Proxy],
) -> None:
    """Would hang for ever if the pool had to say anything to the server when it takes the connection back."""
    database, proxy = behind_proxy

    async def write(transaction: Transaction) -> str:
        await transaction.execute(text("SELECT 1"))
        transaction.after_commit(lambda: proxy.become(Mode.BLACK_HOLE))
        return "committed"

    async with asyncio.timeout(5):
        assert await database.run_in_transaction(write) == "committed"
