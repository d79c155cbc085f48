"""The relay: every committed row reaches Kafka, in order, and leaves the outbox only when Kafka has it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.columns import new_metadata
from tidings.database.engine import create_engine
from tidings.database.settings import DatabaseSettings
from tidings.database.transactions import Database, Transaction
from tidings.events import MessageCreated, uuid7
from tidings.kafka.publisher import Publisher
from tidings.kafka.settings import KafkaSettings
from tidings.outbox.record import Outbox
from tidings.outbox.relay import Relay
from tidings.outbox.table import outbox_table
from tidings_local.backends import Backends

AUTHOR = uuid7()


@dataclass
class Bench:
    """An outbox with a relay that is not yet running."""

    database: Database
    outbox: Outbox
    relay: Relay
    kafka: KafkaSettings

    async def record(self, *messages: UUID) -> None:
        """Commit one event for each message."""

        async def write(transaction: Transaction) -> None:
            for message in messages:
                data = MessageCreated(message_id=message, author_id=AUTHOR, author="mina", length=1)
                await self.outbox.record(transaction, data)

        await self.database.run_in_transaction(write)

    async def waiting(self) -> int:
        """Return how many rows are not yet published."""

        async def read(connection: AsyncConnection) -> int:
            return (await connection.execute(select(func.count()).select_from(self.outbox.table))).scalar_one()

        return await self.database.read(read)

    async def until_empty(self) -> None:
        """Wait until nothing waits."""
        for _ in range(200):
            if not await self.waiting():
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{await self.waiting()} rows still wait: {self.relay.last_error}")


@pytest.fixture
async def bench(backends: Backends) -> AsyncIterator[Bench]:
    metadata = new_metadata()
    outbox = Outbox(outbox_table(metadata), "tidings-test")
    settings = DatabaseSettings(url=SecretStr(backends.database("relay")))
    engine = create_engine(settings)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    database = Database(engine, settings.deadline_seconds)
    kafka = KafkaSettings(bootstrap_servers=backends.kafka, fetch_max_wait_ms=10)
    yield Bench(database, outbox, relay_of(database, outbox, kafka), kafka)
    await engine.dispose()


def relay_of(database: Database, outbox: Outbox, kafka: KafkaSettings) -> Relay:
    publisher = Publisher(kafka, NoOpTracerProvider().get_tracer("test"), "test-relay")
    relay = Relay(database, outbox.table, publisher, NoOpMeterProvider().get_meter("test"))
    outbox.wakes(relay.wake)
    return relay


async def published(kafka: KafkaSettings, wanted: set[bytes]) -> list[bytes]:
    """Return the keys among `wanted` that are in the topic, in the order of each partition."""
    consumer = AIOKafkaConsumer(
        "tidings.messages.v1",
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=10,
    )
    await consumer.start()
    keys: list[bytes] = []
    idle = 0
    while idle < 3:
        batches = await consumer.getmany(timeout_ms=300)
        idle = 0 if batches else idle + 1
        keys += [record.key for records in batches.values() for record in records if record.key in wanted]
    await consumer.stop()
    return keys


def keys(messages: list[UUID]) -> set[bytes]:
    return {str(message).encode() for message in messages}


async def test_what_was_recorded_before_the_relay_ran_is_published_once(bench: Bench) -> None:
    messages = [uuid7() for _ in range(1203)]
    await bench.record(*messages)
    assert await bench.waiting() == 1203
    running = asyncio.create_task(bench.relay.run())
    await bench.until_empty()
    await bench.relay.stop(running, 2)
    found = await published(bench.kafka, keys(messages))
    assert len(found) == 1203
    assert set(found) == keys(messages)


async def test_events_of_one_key_keep_their_order(bench: Bench, backends: Backends) -> None:
    message = uuid7()
    running = asyncio.create_task(bench.relay.run())
    for _ in range(30):
        await bench.record(message)
    await bench.until_empty()
    await bench.relay.stop(running, 2)
    consumer = AIOKafkaConsumer(
        "tidings.messages.v1",
        bootstrap_servers=backends.kafka,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=10,
    )
    await consumer.start()
    ids: list[bytes] = []
    while len(ids) < 30:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            ids += [dict(one.headers)["ce_id"] for one in records if one.key == str(message).encode()]
    await consumer.stop()
    assert ids == sorted(ids)  # ids are UUIDv7: their order is that of recording


async def test_a_commit_wakes_the_relay_before_its_next_poll(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.outbox.relay.POLL_SECONDS", 3600.0)
    running = asyncio.create_task(bench.relay.run())
    for _ in range(3):
        await bench.record(uuid7())
        await bench.until_empty()
    await bench.relay.stop(running, 2)


async def test_a_row_that_commits_late_with_a_low_position_is_published(bench: Bench) -> None:
    """On MariaDB the first transaction takes its position, then the second commits and is published before it."""
    late, early = uuid7(), uuid7()
    running = asyncio.create_task(bench.relay.run())
    if bench.database.dialect == "mysql":

        async def slow(transaction: Transaction) -> None:
            await bench.outbox.record(
                transaction, MessageCreated(message_id=late, author_id=AUTHOR, author="mina", length=1)
            )
            await bench.record(early)
            await asyncio.sleep(0.5)

        await bench.database.run_in_transaction(slow)
    else:
        await bench.record(early)
        await bench.record(late)
    await bench.until_empty()
    await bench.relay.stop(running, 2)
    assert set(await published(bench.kafka, keys([late, early]))) == keys([late, early])


async def test_rows_stay_while_kafka_is_away_and_the_relay_says_why(bench: Bench) -> None:
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    relay = relay_of(bench.database, bench.outbox, nowhere)
    running = asyncio.create_task(relay.run())
    await bench.record(uuid7())
    for _ in range(100):
        if relay.last_error:
            break
        await asyncio.sleep(0.05)
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9"):
        await relay.check()
    await relay.stop(running, 1)
    assert await bench.waiting() == 1


async def test_a_rolled_back_fact_is_never_published(bench: Bench) -> None:
    message = uuid7()

    async def fail(transaction: Transaction) -> None:
        await bench.outbox.record(
            transaction, MessageCreated(message_id=message, author_id=AUTHOR, author="mina", length=1)
        )
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await bench.database.run_in_transaction(fail)
    running = asyncio.create_task(bench.relay.run())
    await bench.record(uuid7())
    await bench.until_empty()
    await bench.relay.stop(running, 2)
    assert await published(bench.kafka, keys([message])) == []


async def test_a_record_that_kafka_refuses_stays_and_the_others_go(bench: Bench) -> None:
    large, small = uuid7(), uuid7()
    await bench.record(large, small)

    async def enlarge(transaction: Transaction) -> None:
        table = bench.outbox.table
        await transaction.execute(
            table.update().where(table.c.key == str(large)).values(value=b" " * (2 * 1024 * 1024))
        )

    await bench.database.run_in_transaction(enlarge)
    running = asyncio.create_task(bench.relay.run())
    for _ in range(200):
        if await bench.waiting() == 1:
            break
        await asyncio.sleep(0.05)
    await bench.relay.stop(running, 2)
    assert await bench.waiting() == 1
    assert await published(bench.kafka, keys([large, small])) == [str(small).encode()]
