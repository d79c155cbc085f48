"""A topic as it is on the wire: read from its beginning, without a group."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

IDLE_POLLS = 20

Offsets = Mapping[TopicPartition, int]


async def records_of(
    bootstrap: str,
    topic: str,
    wanted: Callable[[Any], bool],
    count: int | None = None,
    since: Offsets | None = None,
) -> list[Any]:
    """Return the records that are `wanted`: all there are after a quiet second, or as soon as there are `count`.

    With `since`, only those after these ends of its partitions: on a shared cluster the ones before may be unreadable.
    """
    async with _reader(bootstrap, topic) as consumer:
        for partition, end in (since or {}).items():
            if partition.topic == topic:
                consumer.seek(partition, end)
        found: list[Any] = []
        idle = 0
        while idle < (IDLE_POLLS if count is not None else 3) and (count is None or len(found) < count):
            batches = await consumer.getmany(timeout_ms=350)
            idle = 0 if batches else idle + 1
            found += [record for records in batches.values() for record in records if wanted(record)]
        return found


async def ends_of(bootstrap: str, *topics: str) -> Offsets:
    """Return where each partition of the topics ends now."""
    async with _reader(bootstrap, *topics) as consumer:
        ends: Offsets = await consumer.end_offsets(consumer.assignment())
        return ends


@asynccontextmanager
async def _reader(bootstrap: str, *topics: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=10,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()
