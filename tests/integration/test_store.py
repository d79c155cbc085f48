"""The log's store: batches, the positions after them, and a database that is too slow for whole batches."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from support.slow_database import SlowDatabase
from tidings.database.engine import create_engine
from tidings.database.migrations import upgrade
from tidings.database.settings import DatabaseSettings
from tidings.database.transactions import Database
from tidings.events import ApiRequest
from tidings.events.codec import encode
from tidings.events.envelope import Event, EventData
from tidings.kafka.consumer import RetryLater
from tidings_local.backends import Backends
from tidings_log_consumer.ingest import Ingest
from tidings_log_consumer.positions import StoredPositions
from tidings_log_consumer.tables import entries

ACTIVITY = "tidings.activity.v1"
GROUP = "store"


@pytest.fixture
async def database(backends: Backends) -> AsyncIterator[Database]:
    engine = create_engine(DatabaseSettings(url=SecretStr(backends.database("logs"))))
    await upgrade(engine, "tidings_log_consumer")
    yield Database(engine, 10)
    await engine.dispose()


def ingest_into(database: Database) -> tuple[Ingest, StoredPositions]:
    positions = StoredPositions(database, GROUP)
    tracer, meter = NoOpTracerProvider().get_tracer("test"), NoOpMeterProvider().get_meter("test")
    return Ingest(database, tracer, meter, positions), positions


def records(numbers: Sequence[int], partition: int = 0) -> "list[ConsumerRecord[Any, Any]]":
    """Return records at these offsets, each with an event of its own."""
    made = []
    for number in numbers:
        event: Event[EventData] = Event(
            source="tests", data=ApiRequest(method="GET", route=f"/{number}", status=200, duration_ms=1)
        )
        record = encode(event)
        headers = tuple((name, value.encode()) for name, value in record.headers)
        made.append(ConsumerRecord(ACTIVITY, partition, number, 1_000, 0, None, record.value, None, 0, 0, headers))
    return made


def poison(offset: int) -> "ConsumerRecord[Any, Any]":
    return ConsumerRecord(ACTIVITY, 0, offset, 1_000, 0, None, b"no event", None, 0, 0, ())


async def stored(database: Database) -> int:
    async def count(connection: AsyncConnection) -> int:
        return int((await connection.execute(select(func.count()).select_from(entries))).scalar_one())

    return await database.read(count)


async def test_batch_is_stored_with_the_positions_after_it(database: Database) -> None:
    ingest, positions = ingest_into(database)
    assert await positions.all() == {}
    assert await ingest.store([*records([5, 6, 9]), *records([100], partition=1)]) == []
    assert await positions.all() == {TopicPartition(ACTIVITY, 0): 10, TopicPartition(ACTIVITY, 1): 101}
    await ingest.store(records([10]))
    assert await positions.all() == {TopicPartition(ACTIVITY, 0): 11, TopicPartition(ACTIVITY, 1): 101}
    await positions.advance({TopicPartition(ACTIVITY, 1): 0})
    assert await positions.all() == {TopicPartition(ACTIVITY, 0): 11, TopicPartition(ACTIVITY, 1): 0}
    assert await StoredPositions(database, "another group").all() == {}


async def test_batch_with_a_poison_record_stores_no_position(database: Database) -> None:
    ingest, positions = ingest_into(database)
    (refused,) = await ingest.store([*records([1]), poison(2), *records([3])])
    assert refused.offset == 2
    assert await stored(database) == 2
    assert await positions.all() == {}


@pytest.mark.parametrize("most", [1, 7, 40])
async def test_slow_database_gets_a_batch_in_smaller_pieces(database: Database, most: int) -> None:
    slow = SlowDatabase(database, most)
    ingest, positions = ingest_into(slow)
    batch = records(range(100))
    tries = 0
    while True:
        tries += 1
        try:
            await ingest.store(batch)
            break
        except RetryLater:
            assert await positions.all() == {}
            assert tries < 20
    assert tries > 1
    assert await stored(database) == 100
    assert await positions.all() == {TopicPartition(ACTIVITY, 0): 100}
