"""Ingest: Kafka into the log's table, beside a raw read with `executemany`."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import aiomysql
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from opentelemetry.trace import get_current_span
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.measure import Line, Rounds, Sample, Watch, interleaved, rate
from benchmarks.setting import SAMPLED, Setting, calls, empty, traceparents
from tidings.database.transactions import Database
from tidings.events import Event, decode, encode, uuid7
from tidings.events.topics import ACTIVITY
from tidings.kafka.consumer import BATCH, Consumer, Records
from tidings.kafka.dead_letters import Ceiling, DeadLetters, Poison
from tidings.kafka.publisher import Publisher
from tidings.telemetry.propagation import carrier_from_headers, context_from
from tidings.telemetry.setup import Telemetry
from tidings_log_consumer.entries import entry_of
from tidings_log_consumer.ingest import Ingest
from tidings_log_consumer.tables import entries, metadata

EVENTS = 20_000
RATIO = 0.65
SHARES = {"ingest": SAMPLED, "ingest, every trace sampled": 1.0}
Offsets = dict[TopicPartition, int]


@dataclass
class Progress:
    """The clock of one round: it runs from the first batch in hand until the last one is stored."""

    wanted: int
    watch: Watch = field(default_factory=Watch)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    _stored: int = 0
    _started: tuple[float, float] | None = None

    def begin(self) -> None:
        """Say that a batch is in hand."""
        self._started = self._started or (time.perf_counter(), time.process_time())

    def stored(self, count: int) -> None:
        """Say that it is stored."""
        self._stored += count
        if self._stored >= self.wanted and self._started:
            wall, cpu = self._started
            self.watch = Watch(time.perf_counter() - wall, time.process_time() - cpu)
            self.done.set()

    async def sample(self) -> Sample:
        """Wait for the last batch."""
        async with asyncio.timeout(120):
            await self.done.wait()
        return rate(self.wanted, self.watch)


async def lines(setting: Setting) -> AsyncIterator[Line]:
    """Read the same records again and again, each time as a new group."""
    telemetry = Telemetry("benchmark")
    async with setting.database("ingest", metadata, telemetry) as database:
        for name, sampled in SHARES.items():
            yield Line(name, "events/s", "rate", await _rounds(setting, database, telemetry, name, sampled), RATIO)


async def _rounds(setting: Setting, database: Database, telemetry: Telemetry, name: str, sampled: float) -> Rounds:
    count = setting.items(EVENTS)
    begin = await _produce(setting, count, sampled)
    rows = await _rows(setting, begin, count)
    url = database.engine.url
    async with aiomysql.create_pool(host=url.host, port=url.port, user=url.username, db=url.database) as pool:

        async def ours() -> Sample:
            await empty(database, entries)
            sample = await _ingested(setting, await _group_at(setting, begin), database, telemetry, count)
            assert await _stored(database) == count
            return sample

        async def peer() -> Sample:
            await empty(database, entries)
            sample = await _copied(setting, await _group_at(setting, begin), pool, rows)
            assert await _stored(database) == count
            return sample

        return await interleaved(name, ours, peer, setting.rounds)


async def _ingested(setting: Setting, group: str, database: Database, telemetry: Telemetry, count: int) -> Sample:
    """Run consumer and ingest as the log consumer composes them."""
    ingest = Ingest(database, telemetry.tracer, telemetry.meter)
    progress = Progress(count)

    async def handle(records: Records) -> Sequence[Poison]:
        progress.begin()
        poisons = await ingest.store(records)
        progress.stored(len(records))
        return poisons

    letters = DeadLetters(Publisher(setting.kafka(), telemetry.tracer, "benchmark-dead-letters"), group)
    consumer = Consumer(setting.kafka(), [ACTIVITY], group, handle, letters, Ceiling(0.5, 100))
    task = asyncio.create_task(consumer.run())
    sample = await progress.sample()
    await consumer.stop(task, 5)
    return sample


async def _copied(setting: Setting, group: str, pool: Any, rows: dict[tuple[int, int], tuple[Any, ...]]) -> Sample:
    """Read, insert the rows that were made beforehand, commit, commit the offsets."""
    names = [f"`{column.name}`" for column in entries.columns if column is not entries.c.number]
    values = ", ".join(["%s"] * len(names))
    statement = f"INSERT INTO entries ({', '.join(names)}) VALUES ({values})"  # noqa: S608  # names of our own columns
    progress = Progress(len(rows))
    consumer = _consumer(setting, ACTIVITY, group_id=group)
    await consumer.start()
    async with pool.acquire() as connection, connection.cursor() as cursor:
        while not progress.done.is_set():
            batches = await consumer.getmany(timeout_ms=200, max_records=BATCH)
            records = [record for batch in batches.values() for record in batch]
            if not records:
                continue
            progress.begin()
            await cursor.executemany(statement, [rows[record.partition, record.offset] for record in records])
            await connection.commit()
            progress.stored(len(records))
            await consumer.commit({tp: batch[-1].offset + 1 for tp, batch in batches.items()})
    await consumer.stop()
    return await progress.sample()


async def _produce(setting: Setting, count: int, sampled: float) -> Offsets:
    """Write `count` events, and return where they begin."""
    producer = AIOKafkaProducer(bootstrap_servers=setting.kafka().bootstrap_servers, enable_idempotence=True)
    await producer.start()
    partitions = [TopicPartition(ACTIVITY, number) for number in await producer.partitions_for(ACTIVITY)]
    reader = _consumer(setting)
    await reader.start()
    begin: Offsets = await reader.end_offsets(partitions)
    await reader.stop()
    for data, trace in zip(calls(count), traceparents(count, sampled), strict=True):
        record = encode(Event(source="tidings-messages", data=data))
        headers = [(name, text.encode()) for name, text in (*record.headers, ("traceparent", trace))]
        await producer.send(record.topic, record.value, key=record.key, headers=headers)
    await producer.stop()
    return begin


async def _rows(setting: Setting, begin: Offsets, count: int) -> dict[tuple[int, int], tuple[Any, ...]]:
    """Return the row of each record, as the driver takes it."""
    reader = _consumer(setting)
    await reader.start()
    reader.assign(list(begin))
    for tp, offset in begin.items():
        reader.seek(tp, offset)
    rows: dict[tuple[int, int], tuple[Any, ...]] = {}
    while len(rows) < count:
        for batch in (await reader.getmany(timeout_ms=200)).values():
            rows |= {(record.partition, record.offset): _row(record) for record in batch}
    await reader.stop()
    return rows


def _row(record: Any) -> tuple[Any, ...]:
    event = decode(record.value, record.headers)
    span = get_current_span(context_from(carrier_from_headers(record.headers))).get_span_context()
    return tuple(_plain(value) for value in entry_of(event, record, span).values())


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return value.bytes
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


async def _group_at(setting: Setting, begin: Offsets) -> str:
    """Return a new consumer group that will read from `begin` on."""
    group = f"benchmark-{uuid7()}"
    member = _consumer(setting, group_id=group)
    await member.start()
    member.assign(list(begin))
    await member.commit(begin)
    await member.stop()
    return group


def _consumer(setting: Setting, *topics: str, group_id: str | None = None) -> "AIOKafkaConsumer[Any, Any]":
    return AIOKafkaConsumer(
        *topics,
        bootstrap_servers=setting.kafka().bootstrap_servers,
        group_id=group_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=setting.kafka().fetch_max_wait_ms,
    )


async def _stored(database: Database) -> int:
    async def read(connection: AsyncConnection) -> int:
        return (await connection.execute(select(func.count()).select_from(entries))).scalar_one()

    return await database.read(read)
