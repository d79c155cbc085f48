"""Transactions: committed before they answer, all or nothing, again when the database asks, and in time."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.columns import new_metadata
from tidings.database.engine import BUSY_SECONDS, create_engine
from tidings.database.settings import DatabaseSettings
from tidings.database.statements import insert_new
from tidings.database.transactions import ATTEMPTS, Database, DatabaseUnavailable, Transaction
from tidings.events import UserRegistered
from tidings.outbox.record import Outbox
from tidings.outbox.table import outbox_table
from unit.fakes import in_span

METADATA = new_metadata()
THINGS = sa.Table("things", METADATA, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(9)))
OUTBOX = outbox_table(METADATA)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    settings = DatabaseSettings(url=SecretStr(f"sqlite+aiosqlite:///{tmp_path}/x.db"))
    engine = create_engine(settings)
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    yield Database(engine, settings.deadline_seconds)
    await engine.dispose()


def put(number: int) -> sa.Insert:
    return sa.insert(THINGS).values(id=number)


async def numbers(database: Database) -> list[int]:
    return list(await database.read(_numbers))


async def _numbers(connection: AsyncConnection) -> list[int]:
    return list((await connection.execute(sa.select(THINGS.c.id).order_by(THINGS.c.id))).scalars())


async def test_what_was_done_is_committed_and_only_then_told(database: Database) -> None:
    told: list[str] = []

    async def work(transaction: Transaction) -> str:
        await transaction.execute(put(1))
        transaction.after_commit(lambda: told.append("committed"))
        assert told == []
        return "result"

    assert await database.run_in_transaction(work) == "result"
    assert told == ["committed"]
    assert await numbers(database) == [1]


async def test_an_error_undoes_everything_and_is_told_as_it_is(database: Database) -> None:
    told: list[str] = []

    async def work(transaction: Transaction) -> None:
        transaction.after_commit(lambda: told.append("committed"))
        await transaction.execute(put(1))
        await transaction.execute(put(1))

    with pytest.raises(IntegrityError):
        await database.run_in_transaction(work)
    assert told == []
    assert await numbers(database) == []


@pytest.mark.parametrize("code", [1205, 1213, 1020])
async def test_a_deadlock_runs_the_whole_transaction_again(database: Database, code: int) -> None:
    runs: list[str] = []
    told: list[str] = []

    async def work(transaction: Transaction) -> None:
        runs.append("run")
        transaction.after_commit(lambda: told.append("committed"))
        await transaction.execute(put(len(runs)))
        if len(runs) < 3:
            raise OperationalError("", {}, Exception(code, "try again"))

    await database.run_in_transaction(work)
    assert (len(runs), told) == (3, ["committed"])
    assert await numbers(database) == [3]


@pytest.mark.parametrize(("code", "expected"), [(1213, ATTEMPTS), (2013, 1)])
async def test_what_goes_on_failing_is_unavailable(database: Database, code: int, expected: int) -> None:
    runs: list[str] = []

    async def work(_: Transaction) -> None:
        runs.append("run")
        raise OperationalError("", {}, Exception(code, "no"))

    with pytest.raises(DatabaseUnavailable):
        await database.run_in_transaction(work)
    assert len(runs) == expected


async def test_work_that_takes_too_long_is_given_up_and_undone(database: Database) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute(put(1))
        await asyncio.sleep(60)

    with pytest.raises(DatabaseUnavailable, match="in time"):
        await Database(database.engine, 0.1).run_in_transaction(work)
    assert await numbers(database) == []


@pytest.fixture
async def other_writer(database: Database) -> AsyncIterator[sqlite3.Connection]:
    """A connection of another process, which has begun to write."""
    with sqlite3.connect(str(database.engine.url.database), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
    other.close()


async def test_a_transaction_waits_for_another_writer_of_sqlite(
    database: Database, other_writer: sqlite3.Connection
) -> None:
    write = asyncio.create_task(database.run_in_transaction(lambda transaction: transaction.execute(put(1))))
    await asyncio.sleep(1.5 * BUSY_SECONDS)
    assert not write.done()
    other_writer.execute("COMMIT")
    await write
    assert await numbers(database) == [1]


@pytest.mark.usefixtures("other_writer")
async def test_it_waits_for_another_writer_only_until_its_deadline(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="in time"):
        await Database(database.engine, 0.1).run_in_transaction(lambda transaction: transaction.execute(put(1)))


async def test_inserting_a_row_again_has_no_effect_and_every_other_error_stays_one(database: Database) -> None:
    async def twice(transaction: Transaction) -> None:
        for name in ("first", "second"):
            await transaction.execute(insert_new(THINGS, database.dialect), [{"id": 1, "name": name}])

    await database.run_in_transaction(twice)
    assert await numbers(database) == [1]
    assert "ON DUPLICATE KEY UPDATE id" in str(insert_new(THINGS, "mysql").compile(dialect=mysql.dialect()))


async def test_a_fact_is_in_the_outbox_with_its_trace_if_and_only_if_the_transaction_commits(
    database: Database,
) -> None:
    woken: list[str] = []
    outbox = Outbox(OUTBOX, "tidings-test")
    outbox.wakes(lambda: woken.append("woken"))

    async def work(transaction: Transaction) -> UUID:
        return (await outbox.record(transaction, UserRegistered(user_id=UUID(int=1), username="미나"))).id

    async def fails(transaction: Transaction) -> None:
        await work(transaction)
        raise RuntimeError("later")

    with pytest.raises(RuntimeError):
        await database.run_in_transaction(fails)
    assert woken == []
    with in_span() as (trace_id, _):
        event_id = await database.run_in_transaction(work)
    assert woken == ["woken"]
    async with database.engine.connect() as connection:
        (row,) = (await connection.execute(sa.select(OUTBOX))).all()
    assert (row.event_id, row.topic, row.key) == (event_id, "tidings.auth.v1", str(UUID(int=1)))
    assert trace_id in row.trace_context
    assert "미나" in row.value.decode()
