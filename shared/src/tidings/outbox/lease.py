"""The lease: of several replicas one relay is at work; another takes over when it is gone.

Time is the database's, so the hosts' clocks do not matter. What a relay sends it sends within its lease; only one that
stands still in the middle, or whose bytes are late on the way, is at work beside its heir. Then some events are in
their topic again after later ones, which a reader that takes each event id once does not see.
"""

import os
import socket
import time

from sqlalchemy import ColumnElement, MetaData, or_, update
from sqlalchemy.sql.expression import literal_column

from tidings.database.transactions import Database, Transaction
from tidings.events import uuid7

LEASE_SECONDS = 8.0
RENEW_SECONDS = 2.0
MARGIN_SECONDS = 1.0

NOW_MS = {
    "mysql": "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000 AS SIGNED)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}


class Lease:
    """The right to publish one outbox.

    Args:
        database: of the service.
        metadata: has the table `outbox_lease`.
    """

    def __init__(self, database: Database, metadata: MetaData) -> None:
        self._database = database
        self._table = metadata.tables["outbox_lease"]
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid7()}"
        self._renewed = -LEASE_SECONDS

    async def hold(self) -> bool:
        """Take the lease or keep it; `False` when another relay has it.

        Raises:
            DatabaseUnavailable: nobody can know.
        """
        asked = time.monotonic()
        if asked - self._renewed < RENEW_SECONDS:
            return True
        table, now = self._table, self._now()
        statement = (
            update(table)
            .where(table.c.name == "relay", or_(table.c.holder == self.holder, table.c.expires_ms < now))
            .values(holder=self.holder, expires_ms=now + int(LEASE_SECONDS * 1000))
        )

        async def take(transaction: Transaction) -> bool:
            return (await transaction.execute(statement)).rowcount == 1

        held = await self._database.run_in_transaction(take)
        self._renewed = asked if held else -LEASE_SECONDS
        return held

    def remaining(self) -> float:
        """Return for how many seconds the lease may be relied upon, a second's margin left out."""
        return max(0.0, self._renewed + LEASE_SECONDS - MARGIN_SECONDS - time.monotonic())

    async def release(self) -> None:
        """Give the lease back, so that another relay need not wait for its end."""
        table = self._table
        statement = update(table).where(table.c.name == "relay", table.c.holder == self.holder).values(expires_ms=0)

        async def give(transaction: Transaction) -> None:
            await transaction.execute(statement)

        self._renewed = -LEASE_SECONDS
        await self._database.run_in_transaction(give)

    def _now(self) -> ColumnElement[int]:
        return literal_column(NOW_MS[self._database.dialect])
