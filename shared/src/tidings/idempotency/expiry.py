"""Expiry: keys older than 24 hours are removed, with the answers that they remember."""

import asyncio
import contextlib
import logging
import time

from sqlalchemy import Table, select

from tidings.database.moments import database_now
from tidings.database.pieces import PieceSize
from tidings.database.statements import delete_within
from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings.idempotency.key import LIFETIME
from tidings.kafka.loops import end

logger = logging.getLogger(__name__)

BATCH = 500
REMOVE_SECONDS = 3.0
"""Time for removing one batch; nobody waits for it."""
PAUSE_SECONDS = 60.0


class Expiry:
    """Removes what is expired, a batch at a time; several replicas may do so at once.

    Args:
        database: of the service.
        table: made by `idempotency_table`.
    """

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        self._table = table
        self._size = PieceSize(BATCH, REMOVE_SECONDS)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Remove until `stop`; runs as one task for the life of the service."""
        while not self._stopping.is_set():
            try:
                while not self._stopping.is_set() and await self.remove_some():
                    pass
            except DatabaseUnavailable as error:
                logger.warning("expired idempotency keys stay for now: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), PAUSE_SECONDS)

    async def stop(self, task: "asyncio.Task[None]", deadline: float) -> None:
        """End `task`, which runs this, at the latest after `deadline` seconds."""
        self._stopping.set()
        await end(task, deadline)

    async def remove_some(self) -> int:
        """Remove the oldest expired keys and return how many; after a failure the next try has fewer.

        Raises:
            DatabaseUnavailable: they stay.
        """
        most = self._size.rows
        table = self._table
        expired = table.c.created_at <= database_now(-LIFETIME)
        oldest = select(table.c.id).where(expired).order_by(table.c.created_at).limit(most)

        async def remove(transaction: Transaction) -> int:
            ids = list((await transaction.execute(oldest)).scalars())
            if ids:  # one of them may have been taken anew meanwhile
                await transaction.execute(delete_within(table, REMOVE_SECONDS).where(table.c.id.in_(ids), expired))
            return len(ids)

        started = time.monotonic()
        try:
            removed = await self._database.run_in_transaction(remove, REMOVE_SECONDS)
        except DatabaseUnavailable:
            self._size.missed(most)
            raise
        self._size.succeeded(time.monotonic() - started)
        return removed
