"""The relay: publishes the outbox in order and deletes what the broker acknowledged.

Nothing is read before all that was acknowledged is deleted, so no row is published again while this relay has the
lease. The rows that are there are the rows not yet published. The relay never remembers a position, because a
transaction that commits late may bring a lower one; and it holds no row lock while it waits for Kafka.
"""

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from opentelemetry.metrics import Meter
from sqlalchemy import Row, Table, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings.events import Record
from tidings.kafka.loops import end
from tidings.kafka.ordered import Outcome, is_held_back, is_refusal
from tidings.kafka.publisher import BrokerUnavailable, Outgoing, Publisher
from tidings.outbox.backlog import BacklogGauges
from tidings.outbox.lease import Lease
from tidings.outbox.parking import Retries, park, reason_of
from tidings.outbox.settling import Settlement
from tidings.telemetry import names
from tidings.telemetry.propagation import context_from

logger = logging.getLogger(__name__)

BATCH = 500
POLL_SECONDS = 1.0
"""The safety net: a commit wakes the relay at once, unless another process made it."""
BACKOFF_MAX = 5.0


class RowsParked(Exception):
    """Rows of the outbox are set aside, because Kafka refused them or an operator parked them."""


class Relay:
    """Publishes one service's outbox while it holds the lease.

    Args:
        database: of the service.
        table: its outbox.
        publisher: the relay's own, and closed with it.
        meter: counts what was published, and shows what waits.
    """

    def __init__(self, database: Database, table: Table, publisher: Publisher, meter: Meter) -> None:
        self._database = database
        self._table = table
        self._publisher = publisher
        self._lease = Lease(database, table.metadata)
        self._settlement = Settlement(database, table, BATCH)
        self._retries = Retries(database, table, BATCH)
        self._published = meter.create_counter(names.METRIC_OUTBOX_PUBLISHED, unit="{event}")
        self._gauges = BacklogGauges(database, table, meter)
        self._work = asyncio.Event()
        self._stopping = asyncio.Event()
        self.last_error: str | None = "not connected to Kafka yet"
        """Why Kafka did not take the last attempt; `None` after one that it took."""

    def wake(self) -> None:
        """Say that there may be something to publish."""
        self._work.set()

    async def check(self) -> None:
        """Raise when the outbox cannot be published at the moment."""
        if self.last_error:
            raise ConnectionError(self.last_error)

    async def check_parked(self) -> None:
        """Raise when rows are parked; the service goes on, but somebody should look at them."""
        if count := self._gauges.backlog.parked:
            raise RowsParked(f"{count} rows are parked, later rows of their keys wait: see `outbox list --parked`")

    async def run(self) -> None:
        """Publish until `stop`; runs as one task for the life of the service."""
        failures = 0
        while True:
            self._work.clear()
            try:
                await self._gauges.look()
                if self._settlement:  # this needs no broker
                    await self._settle()
                await self._publisher.connect()
                self.last_error = None
                while await self._settle() and await self._publish_oldest():
                    await self._gauges.look()
                failures = 0
            except (BrokerUnavailable, DatabaseUnavailable) as error:
                if isinstance(error, BrokerUnavailable):
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
        await self._publisher.close()  # before anybody else may publish
        with contextlib.suppress(DatabaseUnavailable):
            await self._lease.release()

    async def _rest(self, failures: int) -> None:
        """Sleep until there is work; after failures for a growing, jittered time, work or not."""
        signal, seconds = self._work, POLL_SECONDS
        if failures:
            signal, seconds = self._stopping, min(BACKOFF_MAX, 0.2 * 2**failures) * random.uniform(0.5, 1)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(signal.wait(), seconds)

    async def _settle(self) -> bool:
        """Delete what the broker has acknowledged; `False` when another relay has the lease."""
        while await self._lease.hold():
            if not self._settlement:
                return True
            await self._settlement.delete_some()
        self._settlement.forget()
        return False

    async def _publish_oldest(self) -> bool:
        """Publish the oldest rows, each key's in order; `True` when there may be more."""
        if self._retries_due():
            await self._retries.unpark_some()
        rows = await self._database.read(self._oldest)
        if not rows:
            return False
        if not await self._lease.hold():  # reading may have taken long
            return False
        outcomes = await self._publisher.publish([_outgoing(row) for row in rows], self._lease.remaining())
        acknowledged = [row.position for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
        refused = {row.position: outcome for row, outcome in zip(rows, outcomes, strict=True) if is_refusal(outcome)}
        self._settlement.add(acknowledged)
        self._published.add(len(acknowledged))
        await self._park(refused)
        self._retries.note(acknowledged, refused)
        await self._settle()
        for outcome in outcomes:
            if outcome and not is_refusal(outcome) and not is_held_back(outcome):
                raise BrokerUnavailable(f"an event was not acknowledged: {outcome!r}")
        return len(rows) == BATCH or any(map(is_held_back, outcomes)) or self._retries_due()

    def _retries_due(self) -> bool:
        return bool(self._gauges.backlog.parked) and self._retries.due

    async def _park(self, refused: Mapping[int, Outcome]) -> None:
        """Set aside the rows that the broker refused."""

        async def write(transaction: Transaction) -> None:
            for position, reason in refused.items():
                await park(transaction, self._table, position, reason_of(reason))

        if refused:
            await self._database.run_in_transaction(write)
        for position, reason in refused.items():
            logger.error("outbox row %d is parked, Kafka refuses it: %r", position, reason)

    async def _oldest(self, connection: AsyncConnection) -> Sequence[Row[Any]]:
        """Read the oldest rows that wait; a parked row holds back the later ones of its key."""
        table = self._table
        parked = table.c.parked_at.is_not(None)
        first = select(table.c.key, func.min(table.c.position).label("position")).where(parked).group_by(table.c.key)
        barrier = first.subquery()
        statement = (
            select(table)
            .outerjoin(barrier, barrier.c.key == table.c.key)
            .where(table.c.parked_at.is_(None))
            .where(or_(barrier.c.position.is_(None), table.c.position < barrier.c.position))
            .order_by(table.c.position)
            .limit(BATCH)
        )
        return (await connection.execute(statement)).all()


def _outgoing(row: Row[Any]) -> Outgoing:
    waited = datetime.now(UTC) - row.recorded_at
    return Outgoing(
        record=Record(
            topic=row.topic,
            key=row.key.encode(),
            value=row.value,
            headers=tuple((name, text) for name, text in json.loads(row.headers)),
        ),
        context=context_from(json.loads(row.trace_context)),
        attributes={names.OUTBOX_WAIT: round(waited.total_seconds() * 1000, 3)},
    )
