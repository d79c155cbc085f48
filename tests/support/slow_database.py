"""A slow database: transactions that write or remove too many rows do not end in time."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import CursorResult, Delete, Executable

from tidings.database.transactions import Database, DatabaseUnavailable, Transaction

T = TypeVar("T")


class SlowDatabase(Database):
    """Passes transactions on to `database`, and rolls back those that change too many rows.

    Args:
        database: does the work.
        most: how many rows a transaction may change.
    """

    def __init__(self, database: Database, most: int) -> None:
        super().__init__(database.engine, 30)
        self._most = most
        self.refused = 0

    async def run_in_transaction(self, work: Callable[[Transaction], Awaitable[T]], deadline: float | None = None) -> T:
        """Run `work`, unless it changes too many rows."""

        async def limited(transaction: Transaction) -> T:
            return await work(_Limited(transaction, self))

        return await super().run_in_transaction(limited, deadline)

    def check(self, rows: int) -> None:
        """Raise `DatabaseUnavailable` when so many rows are too many."""
        if rows > self._most:
            self.refused += 1
            raise DatabaseUnavailable("the database did not answer in time")


class _Limited(Transaction):
    def __init__(self, transaction: Transaction, database: SlowDatabase) -> None:
        super().__init__(transaction._connection)
        self._database = database

    async def execute(self, statement: Executable, rows: Sequence[Any] | None = None) -> CursorResult[Any]:
        """Run a statement, unless it changes too many rows."""
        self._database.check(len(rows or ()))
        result = await super().execute(statement, rows)
        if isinstance(statement, Delete):
            self._database.check(result.rowcount)
        return result
