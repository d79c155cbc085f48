"""Consuming as the services do: by the project's own consumer, to a list in memory."""

import asyncio
from typing import Any

from opentelemetry.trace import NoOpTracerProvider

from tidings.kafka.consumer import Consumer, Records
from tidings.kafka.dead_letters import Ceiling, DeadLetters, Poison
from tidings.kafka.publisher import Publisher
from tidings.kafka.settings import KafkaSettings

SECONDS = 20
POISON = b"poison"
"""The value of a record that goes to the dead letters instead."""


def publisher_of(settings: KafkaSettings) -> Publisher:
    """Return a publisher that makes no spans."""
    return Publisher(settings, NoOpTracerProvider().get_tracer("test"), "test")


class Reader:
    """Reads a topic from its beginning.

    Args:
        settings: where the brokers are.
        topic: what to read.
    """

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self.values: list[bytes | None] = []
        self._stored = asyncio.Event()
        group = f"reader-{topic}"
        dead_letters = DeadLetters(publisher_of(settings), group)
        self.consumer = Consumer(settings, [topic], group, self._store, dead_letters, Ceiling(1, 1000))

    async def read(self, count: int) -> list[bytes | None]:
        """Return the values once there are `count`; fail when they do not come."""
        running = asyncio.create_task(self.consumer.run())
        try:
            async with asyncio.timeout(SECONDS):
                while len(self.values) < count:
                    self._stored.clear()
                    await self._stored.wait()
        finally:
            await self.consumer.stop(running, 3)
        return self.values

    async def _store(self, records: Records) -> list[Poison]:
        poisons: list[Any] = [record for record in records if record.value == POISON]
        self.values += [record.value for record in records if record.value != POISON]
        self._stored.set()
        return [Poison.of(record, "says so") for record in poisons]
