"""Relay: the outbox of MariaDB into Kafka, beside raw sends of the same records."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.measure import Line, Sample, interleaved, rate, watched
from benchmarks.setting import SAMPLED, Setting, traceparents
from tidings.database.columns import new_metadata
from tidings.database.transactions import Database, Transaction
from tidings.events import Event, MessageCreated, Record, encode, uuid7
from tidings.kafka.publisher import Publisher
from tidings.outbox.relay import Relay
from tidings.outbox.table import outbox_table
from tidings.telemetry.setup import Telemetry

TOPIC = "benchmark.relay"
DEADLINE = 120.0

KEYS = {"distinct keys": (5_000, 5_000), "10 keys": (2_000, 10), "one key": (1_000, 1)}
"""How many rows a round has, and of how many keys."""

metadata = new_metadata()
outbox = outbox_table(metadata)


async def lines(setting: Setting) -> AsyncIterator[Line]:
    """Measure each distribution of keys."""
    telemetry = Telemetry("benchmark")
    async with setting.database("relay", metadata, telemetry) as database:
        await _add_lease(database)
        for name, (rows, keys) in KEYS.items():
            records = _records(setting.items(rows), keys)

            async def ours(records: Sequence[Record] = records) -> Sample:
                await _fill(database, records)
                return await _relayed(setting, database, telemetry, len(records))

            async def peer(records: Sequence[Record] = records) -> Sample:
                return await _sent(setting, records)

            rounds = await interleaved(f"relay, {name}", ours, peer, setting.rounds)
            yield Line(f"relay, {name}", "rows/s", "rate", rounds)


async def _relayed(setting: Setting, database: Database, telemetry: Telemetry, count: int) -> Sample:
    publisher = Publisher(setting.kafka(), telemetry.tracer, "benchmark-relay")
    relay = Relay(database, outbox, publisher, telemetry.meter)
    with watched() as watch:
        await relay.stop(asyncio.create_task(relay.run()), DEADLINE)  # publishes what is there, then ends
    assert await _waiting(database) == 0, relay.last_error
    return rate(count, watch)


async def _sent(setting: Setting, records: Sequence[Record]) -> Sample:
    headers = [
        [(name, text.encode()) for name, text in (*record.headers, ("traceparent", trace))]
        for record, trace in zip(records, traceparents(len(records), SAMPLED), strict=True)
    ]
    producer = AIOKafkaProducer(bootstrap_servers=setting.kafka().bootstrap_servers, enable_idempotence=True)
    with watched() as watch:
        await producer.start()
        pairs = zip(records, headers, strict=True)
        sends = [await producer.send(TOPIC, record.value, key=record.key, headers=own) for record, own in pairs]
        await asyncio.gather(*sends)
        await producer.stop()
    return rate(len(records), watch)


def _records(count: int, keys: int) -> list[Record]:
    messages = itertools.cycle([uuid7() for _ in range(min(keys, count))])
    author = uuid7()
    data = (MessageCreated(message_id=next(messages), author_id=author, author="mina", length=1) for _ in range(count))
    return [encode(Event(source="tidings-messages", data=one, sequence=1)) for one in data]


async def _fill(database: Database, records: Sequence[Record]) -> None:
    """Put the records into the outbox, each with an event id of its own, as if they had just been recorded."""
    rows = [
        {
            "event_id": uuid7(),
            "topic": TOPIC,
            "key": record.key.decode(),
            "headers": json.dumps(record.headers),
            "value": record.value,
            "trace_context": json.dumps({"traceparent": trace}),
            "recorded_at": datetime.now(UTC),
        }
        for record, trace in zip(records, traceparents(len(records), SAMPLED), strict=True)
    ]

    async def write(transaction: Transaction) -> None:
        await transaction.execute(insert(outbox), rows)

    await database.run_in_transaction(write)


async def _add_lease(database: Database) -> None:
    async def write(transaction: Transaction) -> None:
        lease = metadata.tables["outbox_lease"]
        await transaction.execute(insert(lease), [{"name": "relay", "holder": "", "expires_ms": 0}])

    await database.run_in_transaction(write)


async def _waiting(database: Database) -> int:
    async def read(connection: AsyncConnection) -> int:
        return (await connection.execute(select(func.count()).select_from(outbox))).scalar_one()

    return await database.read(read)
