"""Idempotency: one effect and one answer for each key, whatever is lost, parallel or run again."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import Column, Integer, String, Table, func, insert, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from support.slow_database import SlowDatabase
from tidings.database.columns import MARIADB, new_metadata
from tidings.database.engine import create_engine
from tidings.database.settings import DatabaseSettings
from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings.idempotency import expiry
from tidings.idempotency.expiry import Expiry
from tidings.idempotency.key import LIFETIME, IdempotencyKey, IdempotencyKeyInUse, IdempotencyKeyReused
from tidings.idempotency.once import Idempotency
from tidings.idempotency.table import idempotency_table
from tidings_local.backends import Backends

METADATA = new_metadata()
KEYS = idempotency_table(METADATA)
NOTES = Table(
    "notes",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("text", String(50), unique=True),
    **MARIADB,
)
KEY = IdempotencyKey(value="a key", caller="mina", operation="POST /notes", request=b"{}")


@dataclass(frozen=True)
class Note:
    id: int
    at: datetime


@pytest.fixture
async def database(backends: Backends) -> AsyncIterator[Database]:
    settings = DatabaseSettings(url=SecretStr(backends.database("notes")))
    engine = create_engine(settings)
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    yield Database(engine, settings.deadline_seconds)
    await engine.dispose()


@pytest.fixture
def idempotency(database: Database) -> Idempotency:
    return Idempotency(database, KEYS, "0123456789abcdef")


async def write(transaction: Transaction) -> Note:
    made = insert(NOTES).values(text=None).returning(NOTES.c.id)
    return Note((await transaction.execute(made)).scalar_one(), datetime.now(UTC))


async def rows_of(database: Database, table: Table) -> int:
    async def read(connection: AsyncConnection) -> int:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())

    return await database.read(read)


async def grow_old(database: Database, age: timedelta) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(update(KEYS).values(created_at=datetime.now(UTC) - age))


async def test_work_with_a_key_is_done_once_and_work_without_one_each_time(
    database: Database, idempotency: Idempotency
) -> None:
    told: list[str] = []
    key = replace(KEY, replayed=lambda: told.append("replayed"))
    first = await idempotency.run(key, write, Note)
    assert told == []
    assert await idempotency.run(key, write, Note) == first
    assert await idempotency.first_result(key, Note) == first
    assert told == ["replayed", "replayed"]
    assert await idempotency.run(None, write, Note) != await idempotency.run(None, write, Note)
    assert await idempotency.first_result(None, Note) is None
    assert await rows_of(database, NOTES) == 3


@pytest.mark.parametrize(
    "other", [replace(KEY, caller="minsu"), replace(KEY, operation="POST /others"), replace(KEY, value="another key")]
)
async def test_another_caller_operation_or_key_is_another_effect(
    other: IdempotencyKey, database: Database, idempotency: Idempotency
) -> None:
    await idempotency.run(KEY, write, Note)
    assert await idempotency.first_result(other, Note) is None
    await idempotency.run(other, write, Note)
    assert await rows_of(database, NOTES) == 2


async def test_another_request_with_the_same_key_is_refused(database: Database, idempotency: Idempotency) -> None:
    await idempotency.run(KEY, write, Note)
    other = replace(KEY, request=b"{ }")
    with pytest.raises(IdempotencyKeyReused):
        await idempotency.run(other, write, Note)
    with pytest.raises(IdempotencyKeyReused):
        await idempotency.first_result(other, Note)
    changed = Idempotency(database, KEYS, "another secret")
    with pytest.raises(IdempotencyKeyReused):
        await changed.run(KEY, write, Note)
    assert await rows_of(database, NOTES) == 1


async def test_while_the_first_runs_another_is_refused_at_once_or_waits_its_turn(
    database: Database, idempotency: Idempotency
) -> None:
    claimed, done = asyncio.Event(), asyncio.Event()

    async def slow(transaction: Transaction) -> Note:
        note = await write(transaction)
        claimed.set()
        await done.wait()
        return note

    first = asyncio.create_task(idempotency.run(KEY, slow, Note))
    await claimed.wait()
    assert await idempotency.first_result(KEY, Note) is None
    if database.dialect == "sqlite":
        second = asyncio.create_task(idempotency.run(KEY, write, Note))
        await asyncio.sleep(0.1)
        done.set()
        assert await second == await first
    else:
        with pytest.raises(IdempotencyKeyInUse):
            await idempotency.run(KEY, write, Note)
        assert not first.done()
        done.set()
        note = await first
        assert await idempotency.run(KEY, write, Note) == note
    assert await rows_of(database, NOTES) == 1


async def test_of_fifty_at_once_one_takes_effect_and_nobody_hears_of_another(
    database: Database, idempotency: Idempotency
) -> None:
    results = await asyncio.gather(*(idempotency.run(KEY, write, Note) for _ in range(50)), return_exceptions=True)
    assert {type(result) for result in results} <= {Note, IdempotencyKeyInUse, DatabaseUnavailable}
    assert {result for result in results if isinstance(result, Note)} <= {await idempotency.run(KEY, write, Note)}
    assert await rows_of(database, NOTES) == 1


async def test_a_failed_attempt_is_not_remembered(database: Database, idempotency: Idempotency) -> None:
    async def fail(transaction: Transaction) -> Note:
        await write(transaction)
        raise LookupError

    with pytest.raises(LookupError):
        await idempotency.run(KEY, fail, Note)
    assert await rows_of(database, KEYS) == 0
    await idempotency.run(KEY, write, Note)
    assert await rows_of(database, NOTES) == 1


async def test_without_its_table_nothing_is_done_and_that_is_no_key_in_use(
    database: Database, idempotency: Idempotency
) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("DROP TABLE idempotency_keys"))
    with pytest.raises(DatabaseUnavailable):
        await idempotency.run(KEY, write, Note)
    assert await rows_of(database, NOTES) == 0


@pytest.mark.parametrize("code", [1213, 1205, 1020])
async def test_a_transaction_that_is_run_again_has_one_effect(
    code: int, database: Database, idempotency: Idempotency
) -> None:
    runs: list[Note] = []

    async def deadlocked_twice(transaction: Transaction) -> Note:
        runs.append(await write(transaction))
        if len(runs) < 3:
            raise OperationalError("", {}, Exception(code, "try again"))
        return runs[-1]

    result = await idempotency.run(KEY, deadlocked_twice, Note)
    assert (len(runs), result) == (3, runs[-1])
    assert await idempotency.run(KEY, write, Note) == result
    assert await rows_of(database, NOTES) == 1


async def test_an_expired_key_is_a_new_one_and_its_new_answer_holds(
    database: Database, idempotency: Idempotency
) -> None:
    first = await idempotency.run(KEY, write, Note)
    await grow_old(database, LIFETIME - timedelta(minutes=1))
    assert await idempotency.run(KEY, write, Note) == first
    await grow_old(database, LIFETIME)
    assert await idempotency.first_result(KEY, Note) is None
    again = replace(KEY, request=b"another request")
    results = await asyncio.gather(*(idempotency.run(again, write, Note) for _ in range(10)), return_exceptions=True)
    second = await idempotency.run(again, write, Note)
    assert second != first
    assert {type(result) for result in results} <= {Note, IdempotencyKeyInUse, DatabaseUnavailable}
    assert {result for result in results if isinstance(result, Note)} <= {second}
    assert await rows_of(database, NOTES) == 2
    assert await rows_of(database, KEYS) == 1


async def test_what_is_expired_is_removed_batch_by_batch_and_the_rest_stays(
    database: Database, idempotency: Idempotency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "BATCH", 2)
    for number in range(5):
        await idempotency.run(replace(KEY, value=str(number)), write, Note)
    await grow_old(database, LIFETIME)
    await idempotency.run(KEY, write, Note)
    removal = Expiry(database, KEYS)
    assert await removal.remove_some() == 2
    task = asyncio.create_task(removal.run())
    for _ in range(500):
        if await rows_of(database, KEYS) == 1:
            break
        await asyncio.sleep(0.01)
    await removal.stop(task, 5)
    assert task.done()
    assert not task.cancelled()
    assert await removal.remove_some() == 0
    assert await idempotency.first_result(KEY, Note) is not None


async def test_slow_database_removes_expired_keys_in_smaller_batches(
    database: Database, idempotency: Idempotency
) -> None:
    for number in range(5):
        await idempotency.run(replace(KEY, value=str(number)), write, Note)
    await grow_old(database, LIFETIME)
    slow = SlowDatabase(database, most=2)
    removal = Expiry(slow, KEYS)
    for _ in range(20):
        with suppress(DatabaseUnavailable):
            await removal.remove_some()
    assert await rows_of(database, KEYS) == 0
    assert slow.refused > 0


async def test_a_key_that_is_being_taken_anew_is_not_removed(database: Database, idempotency: Idempotency) -> None:
    await idempotency.run(KEY, write, Note)
    await grow_old(database, LIFETIME)
    claimed, done = asyncio.Event(), asyncio.Event()

    async def slow(transaction: Transaction) -> Note:
        claimed.set()
        await done.wait()
        return await write(transaction)

    anew = asyncio.create_task(idempotency.run(KEY, slow, Note))
    await claimed.wait()
    removal = asyncio.create_task(Expiry(database, KEYS).remove_some())
    await asyncio.sleep(0.2)  # it has found the expired row, and waits for whoever holds it
    done.set()
    await removal
    assert await idempotency.run(KEY, write, Note) == await anew


async def test_keys_that_cannot_be_removed_now_are_removed_later(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "PAUSE_SECONDS", 0.01)
    async with database.engine.begin() as connection:
        await connection.execute(text("DROP TABLE idempotency_keys"))
    removal = Expiry(database, KEYS)
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(removal.run())
        for _ in range(500):
            if len(caplog.records) >= 2:
                break
            await asyncio.sleep(0.01)
    assert "expired idempotency keys stay for now" in caplog.text
    assert not task.done()
    await removal.stop(task, 5)
