"""The backlog: how much of an outbox is not yet published, and how old the oldest of it is, as metrics."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from sqlalchemy import Table, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.transactions import Database
from tidings.telemetry import names

LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Backlog:
    """An outbox at a moment."""

    unsent: int = 0
    """Rows that wait, those that are parked not counted."""
    parked: int = 0
    oldest: datetime | None = None
    """When the oldest of the rows that wait was recorded."""

    def age(self) -> float:
        """Return the age of the oldest row that waits, seconds; 0 when none does."""
        return max(0.0, (datetime.now(UTC) - self.oldest).total_seconds()) if self.oldest else 0.0


async def read_backlog(connection: AsyncConnection, table: Table) -> Backlog:
    """Return the backlog of the outbox `table`."""
    waits = table.c.parked_at.is_(None)
    statement = select(func.count(), func.count(table.c.parked_at), func.min(case((waits, table.c.recorded_at))))
    rows, parked, oldest = (await connection.execute(statement.select_from(table))).one()
    return Backlog(unsent=rows - parked, parked=parked, oldest=oldest)


class BacklogGauges:
    """Shows the backlog as `tidings.outbox.unsent`, `tidings.outbox.parked` and `tidings.outbox.oldest_age`.

    The age goes on growing while the database cannot be asked.

    Args:
        database: of the service.
        table: its outbox.
        meter: asks for the figures when it exports.
    """

    def __init__(self, database: Database, table: Table, meter: Meter) -> None:
        self._database = database
        self._table = table
        self._looked = -LOOK_SECONDS
        self.backlog = Backlog()
        meter.create_observable_gauge(names.METRIC_OUTBOX_UNSENT, [self._unsent], unit="{event}")
        meter.create_observable_gauge(names.METRIC_OUTBOX_PARKED, [self._parked], unit="{event}")
        meter.create_observable_gauge(names.METRIC_OUTBOX_OLDEST_AGE, [self._oldest_age], unit="s")

    async def look(self) -> None:
        """Read the backlog anew, unless that was a moment ago.

        Raises:
            DatabaseUnavailable: it cannot be read now.
        """
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self.backlog = await self._database.read(lambda connection: read_backlog(connection, self._table))
            self._looked = time.monotonic()

    def _unsent(self, _: CallbackOptions) -> Iterator[Observation]:
        yield Observation(self.backlog.unsent)

    def _parked(self, _: CallbackOptions) -> Iterator[Observation]:
        yield Observation(self.backlog.parked)

    def _oldest_age(self, _: CallbackOptions) -> Iterator[Observation]:
        yield Observation(self.backlog.age())
