"""Settling: deletes the rows that the broker acknowledged.

A row is published before it is deleted. When the delete fails, the row is still there although Kafka has its event, and
reading the outbox again would publish it again. So the relay remembers such rows and deletes them before it reads on.
"""

import logging
import time
from collections.abc import Iterable

from sqlalchemy import Table

from tidings.database.pieces import PieceSize
from tidings.database.statements import delete_within
from tidings.database.transactions import Database, DatabaseUnavailable, Transaction

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 3.0
"""Time for deleting one piece. It must end well within the lease, whose renewal is at most two seconds old."""


class Settlement:
    """The rows that the broker acknowledged and that are not deleted yet.

    Args:
        database: of the service.
        table: its outbox.
        largest: how many rows are deleted at once, at most.
    """

    def __init__(self, database: Database, table: Table, largest: int) -> None:
        self._database = database
        self._table = table
        self._size = PieceSize(largest, SETTLE_SECONDS)
        self._positions: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._positions)

    def add(self, positions: Iterable[int]) -> None:
        """Remember rows that the broker acknowledged."""
        self._positions.extend(positions)

    def forget(self) -> None:
        """Forget all rows: another relay has the lease, and what becomes of them is its business."""
        self._positions.clear()

    async def delete_some(self) -> None:
        """Delete one piece; when that takes too long, the next piece is half as large.

        Raises:
            DatabaseUnavailable: not even one row can be deleted in time.
        """
        piece = self._positions[: self._size.rows]
        statement = delete_within(self._table, SETTLE_SECONDS).where(self._table.c.position.in_(piece))

        async def delete(transaction: Transaction) -> None:
            await transaction.execute(statement)

        started = time.monotonic()
        try:
            await self._database.run_in_transaction(delete, deadline=SETTLE_SECONDS)
        except DatabaseUnavailable as error:
            if not self._size.missed(len(piece)):
                raise
            logger.warning("deleting %d published rows failed; the next try has fewer: %s", len(piece), error)
        else:
            self._size.succeeded(time.monotonic() - started)
            del self._positions[: len(piece)]
