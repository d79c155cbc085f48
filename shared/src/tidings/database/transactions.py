"""Transactions: a unit of work commits before it answers, is run again when the database asks, and ends in time."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sqlalchemy import CursorResult, Executable
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tidings.database.engine import WRITES, is_locked

T = TypeVar("T")

ATTEMPTS = 5
LOCK_WAIT = 1205
RETRYABLE = {LOCK_WAIT, 1213, 1020}
"""MariaDB: lock wait timeout, deadlock, record changed since last read."""

SCHEMA_BEHIND = {1146, 1054}
"""MariaDB: no such table, no such column; a migration mends it while the service runs."""


class DatabaseUnavailable(Exception):
    """The database did not answer, or not in time. Whether a write took effect is not known."""


class Transaction:
    """An open transaction: runs statements, and remembers what to do once it is committed."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._after_commit: list[Callable[[], None]] = []

    async def execute(self, statement: Executable, rows: Any = None) -> CursorResult[Any]:
        """Run one statement, or the same one for each of `rows`."""
        return await self._connection.execute(statement, rows)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` when, and only when, this transaction is committed."""
        self._after_commit.append(callback)

    def committed(self) -> None:
        """Say that the commit is done."""
        for callback in self._after_commit:
            callback()


class Database:
    """Runs units of work on an engine.

    Args:
        engine: the service's engine.
        deadline: seconds that one unit of work may wait for a connection, and then take.
    """

    def __init__(self, engine: AsyncEngine, deadline: float) -> None:
        self.engine = engine
        self.dialect = engine.dialect.name
        self._deadline = deadline

    async def run_in_transaction(self, work: Callable[[Transaction], Awaitable[T]], deadline: float | None = None) -> T:
        """Run `work` in a transaction and commit it; on a deadlock or lock wait run it all again.

        Args:
            work: called with the open transaction, perhaps several times.
            deadline: seconds that it may take, when it is not work for a request.

        Raises:
            DatabaseUnavailable: no connection, no answer in time, or a commit whose outcome is unknown.
        """
        return await self._in_time(lambda connected: self._retrying(work, connected), deadline)

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `work`, which only reads.

        Raises:
            DatabaseUnavailable: no connection, or no answer in time.
        """

        async def run(connected: Callable[[], None]) -> T:
            async with self.engine.connect() as connection:
                connected()
                async with connection.begin():
                    return await work(connection)

        return await self._in_time(run)

    async def _in_time(self, run: Callable[[Callable[[], None]], Awaitable[T]], deadline: float | None = None) -> T:
        """Call `run` with a function to call when it has its connection: from then on it has the whole deadline.

        Otherwise a unit of work that waited for its connection would be cut in the middle when the service is busy,
        and its work would be done in vain.
        """
        seconds = deadline or self._deadline
        try:
            async with asyncio.timeout(seconds) as limit:
                return await run(lambda: limit.reschedule(asyncio.get_running_loop().time() + seconds))
        except (TimeoutError, PoolTimeout, ConnectionError) as error:
            raise DatabaseUnavailable("the database did not answer in time") from error
        except ProgrammingError as error:
            if error_code(error) not in SCHEMA_BEHIND:
                raise
            raise DatabaseUnavailable(f"the database lacks a migration: {error.orig}") from error
        except (OperationalError, InterfaceError) as error:
            raise DatabaseUnavailable(f"the database failed: {error.orig}") from error

    async def _retrying(self, work: Callable[[Transaction], Awaitable[T]], connected: Callable[[], None]) -> T:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(work, connected if attempt == 1 else lambda: None)
            except DBAPIError as error:
                # Only the deadline ends the wait for another writer of SQLite: each attempt waits for a moment.
                if not is_locked(error) and (attempt >= ATTEMPTS or not _retryable(error)):
                    raise
                await asyncio.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, ATTEMPTS)))

    async def _once(self, work: Callable[[Transaction], Awaitable[T]], connected: Callable[[], None]) -> T:
        async with self.engine.connect() as connection:
            connected()
            await connection.execution_options(**{WRITES: True})
            transaction = Transaction(connection)
            try:
                async with connection.begin():
                    result = await work(transaction)
            except IntegrityError:
                raise  # the statement was refused and the transaction rolled back; nothing is wrong with the connection
            except (DBAPIError, asyncio.CancelledError):
                await connection.invalidate()  # a COMMIT that failed may have left its transaction open
                raise
            transaction.committed()
            return result


def _retryable(error: DBAPIError) -> bool:
    """Tell whether the database asks for the whole transaction again."""
    return error_code(error) in RETRYABLE


def error_code(error: DBAPIError) -> object:
    """Return MariaDB's number of an error; SQLite has none."""
    arguments = error.orig.args if error.orig else ()
    return arguments[0] if arguments else None
