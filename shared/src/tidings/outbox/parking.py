"""Parking: rows that Kafka refuses are set aside with their reason, and tried again.

A row over our own limit is refused for ever. A row under it was refused because the broker's limit was lowered, which
may be for a moment only. Such rows are tried again by themselves: one row at first, and more after each success.
"""

import time
from collections.abc import Container
from datetime import UTC, datetime

from sqlalchemy import Table, Update, select, update

from tidings.database.transactions import Database, Transaction
from tidings.kafka.ordered import Outcome, is_broker_limit

OVER_BROKER_LIMIT = "over the broker's limit, tried again by itself: "
"""How the reasons of such rows begin."""

FIRST_SECONDS, LONGEST_SECONDS = 2.0, 30.0
"""Time between two tries: at first, and after many refusals."""


async def park(transaction: Transaction, table: Table, position: int, reason: str) -> None:
    """Set a row aside until somebody retries it."""
    values = {"parked_at": datetime.now(UTC), "parked_reason": reason[:500]}
    await transaction.execute(update(table).where(table.c.position == position).values(values))


def unpark(table: Table) -> Update:
    """Return an UPDATE of `table` that lets rows be published; the caller says which."""
    return update(table).values(parked_at=None, parked_reason=None)


def reason_of(refusal: Outcome) -> str:
    """Return the reason to store with a row that was refused."""
    return f"{OVER_BROKER_LIMIT if is_broker_limit(refusal) else ''}{refusal!r}"


class Retries:
    """Tries rows again that were over the broker's limit, in the order of their positions, round and round.

    Args:
        database: of the service.
        table: its outbox.
        largest: how many rows are tried at once, at most.
    """

    def __init__(self, database: Database, table: Table, largest: int) -> None:
        self._database = database
        self._table = table
        self._largest = largest
        self._count = 1
        self._pause = FIRST_SECONDS
        self._due = 0.0
        self._last = 0
        self._tried: list[int] = []
        self._passed = self._failed = 0

    @property
    def due(self) -> bool:
        """Whether it is time to try the next rows."""
        return time.monotonic() >= self._due

    async def unpark_some(self) -> None:
        """Let the next rows be published, and wait with those after them.

        Raises:
            DatabaseUnavailable: they stay parked.
        """
        self._due = time.monotonic() + self._pause
        columns = self._table.c
        following = (
            select(columns.position)
            .where(columns.parked_at.is_not(None), columns.parked_reason.startswith(OVER_BROKER_LIMIT, autoescape=True))
            .order_by(columns.position <= self._last, columns.position)  # after the last row the first has its turn
            .limit(self._count)
        )

        async def write(transaction: Transaction) -> list[int]:
            positions = list((await transaction.execute(following)).scalars())
            if positions:
                await transaction.execute(unpark(self._table).where(columns.position.in_(positions)))
            return positions

        self._tried = await self._database.run_in_transaction(write)
        self._passed = self._failed = 0
        self._last = self._tried[-1] if self._tried else 0

    def note(self, acknowledged: Container[int], refused: Container[int]) -> None:
        """Note what became of rows: go on at once when all that were tried passed, and slower when none did."""
        if not self._tried:
            return
        self._passed += sum(position in acknowledged for position in self._tried)
        self._failed += sum(position in refused for position in self._tried)
        self._tried = [position for position in self._tried if position not in acknowledged and position not in refused]
        if not self._tried:  # before, some were held back by others and are sent again
            self._pace(self._passed, self._failed)

    def _pace(self, passed: int, failed: int) -> None:
        """Decide when and how many rows are tried next."""
        if not failed:
            self._count, self._pause = min(self._largest, self._count * 2), FIRST_SECONDS
            self._due = 0.0
        elif passed:
            self._count, self._pause = max(1, self._count // 2), FIRST_SECONDS
        else:
            self._count, self._pause = 1, min(LONGEST_SECONDS, self._pause * 2)
            self._due = time.monotonic() + self._pause
