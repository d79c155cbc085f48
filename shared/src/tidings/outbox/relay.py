"""The relay: publishes the outbox in order and deletes what the broker acknowledged.

The rows that are there are the rows not yet published. The relay never remembers a position, because a transaction that
commits late may bring a lower one; and it holds no row lock while it waits for Kafka.
"""

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from opentelemetry.metrics import Meter
from sqlalchemy import Row, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings.events import Record
from tidings.kafka.loops import end
from tidings.kafka.publisher import BrokerUnavailable, Outgoing, Publisher
from tidings.telemetry import names

logger = logging.getLogger(__name__)

BATCH = 500
POLL_SECONDS = 1.0
"""The safety net: a commit wakes the relay at once, unless another process made it."""
BACKOFF_MAX = 5.0


class Relay:
    """Publishes one service's outbox.

    Args:
        database: of the service.
        table: its outbox.
        publisher: the relay's own, and closed with it.
        meter: counts what was published.
    """

    def __init__(self, database: Database, table: Table, publisher: Publisher, meter: Meter) -> None:
        self._database = database
        self._table = table
        self._publisher = publisher
        self._published = meter.create_counter(names.METRIC_OUTBOX_PUBLISHED, unit="{event}")
        self._work = asyncio.Event()
        self._stopping = asyncio.Event()
        self.last_error: str | None = "not connected to Kafka yet"
        """Why the last attempt failed; `None` after one that succeeded."""

    def wake(self) -> None:
        """Say that there may be something to publish."""
        self._work.set()

    async def check(self) -> None:
        """Raise when the outbox cannot be published at the moment."""
        if self.last_error:
            raise ConnectionError(self.last_error)

    async def run(self) -> None:
        """Publish until `stop`; runs as one task for the life of the service."""
        failures = 0
        while True:
            self._work.clear()
            try:
                await self._publisher.connect()
                while await self._publish_oldest():
                    pass
                self.last_error, failures = None, 0
            except (BrokerUnavailable, DatabaseUnavailable) as error:
                self.last_error = str(error)
                failures += 1
                logger.warning("the outbox waits: %s", error)
            if self._stopping.is_set():
                return
            await self._rest(failures)

    async def stop(self, task: "asyncio.Task[None]", deadline: float) -> None:
        """Publish what is there, then end `task`, which runs this relay, at the latest after `deadline` seconds."""
        self._stopping.set()
        self._work.set()
        await end(task, deadline)
        await self._publisher.close()

    async def _rest(self, failures: int) -> None:
        """Sleep until there is work; after failures for a growing, jittered time, work or not."""
        signal, seconds = self._work, POLL_SECONDS
        if failures:
            signal, seconds = self._stopping, min(BACKOFF_MAX, 0.2 * 2**failures) * random.uniform(0.5, 1)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(signal.wait(), seconds)

    async def _publish_oldest(self) -> bool:
        """Publish the oldest rows; `True` when there may be more."""
        rows = await self._database.read(self._oldest)
        if not rows:
            return False
        outcomes = await self._publisher.publish([_outgoing(row) for row in rows])
        acknowledged = [row.position for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
        if acknowledged:
            await self._database.run_in_transaction(lambda transaction: self._forget(transaction, acknowledged))
            self._published.add(len(acknowledged))
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome:
                logger.error("event %s was refused by Kafka and stays in the outbox: %r", row.event_id, outcome)
        if len(acknowledged) < len(rows):
            raise BrokerUnavailable(f"{len(rows) - len(acknowledged)} events were not accepted")
        return len(rows) == BATCH

    async def _oldest(self, connection: AsyncConnection) -> Sequence[Row[Any]]:
        statement = select(self._table).order_by(self._table.c.position).limit(BATCH)
        return (await connection.execute(statement)).all()

    async def _forget(self, transaction: Transaction, positions: list[int]) -> None:
        await transaction.execute(delete(self._table).where(self._table.c.position.in_(positions)))


def _outgoing(row: Row[Any]) -> Outgoing:
    waited = datetime.now(UTC) - row.recorded_at
    return Outgoing(
        record=Record(
            topic=row.topic,
            key=row.key.encode(),
            value=row.value,
            headers=tuple((name, text) for name, text in json.loads(row.headers)),
        ),
        carrier=json.loads(row.trace_context),
        attributes={names.OUTBOX_WAIT: round(waited.total_seconds() * 1000, 3)},
    )
