"""A topic as it is on the wire: read from its beginning, without a group."""

from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer

IDLE_POLLS = 20


async def records_of(bootstrap: str, topic: str, wanted: Callable[[Any], bool], count: int | None = None) -> list[Any]:
    """Return the records that are `wanted`: all there are after a quiet second, or as soon as there are `count`."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=10,
    )
    await consumer.start()
    found: list[Any] = []
    idle = 0
    while idle < (IDLE_POLLS if count is not None else 3) and (count is None or len(found) < count):
        batches = await consumer.getmany(timeout_ms=350)
        idle = 0 if batches else idle + 1
        found += [record for records in batches.values() for record in records if wanted(record)]
    await consumer.stop()
    return found
