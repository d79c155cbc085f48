"""The migration lock: of several migrations of one database one runs, and the others wait for it.

MariaDB keeps the lock by name for the connection; it ends with the connection, also when the process is killed, but not
before a statement that the server still carries out. SQLite's lock is its own write lock, so there all migrations are
one transaction.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tidings.database.engine import WRITES, is_locked

logger = logging.getLogger(__name__)

LOCK_SECONDS = 300.0
"""How long a migration waits for another one."""
TABLE_SECONDS = 60
"""How long one statement waits for transactions that use its table. All later ones queue behind it meanwhile."""
PAUSE_SECONDS = 0.05


class MigrationLocked(Exception):
    """Another migration of the database went on for too long; the message says what to do."""


@asynccontextmanager
async def migration_lock(engine: AsyncEngine, seconds: float) -> AsyncIterator[AsyncConnection]:
    """Open a connection that holds the migration lock of its database, and give the lock back when the block ends.

    On SQLite the connection is inside the transaction that holds the lock, and the caller commits it.

    Raises:
        MigrationLocked: another migration did not end within `seconds`.
    """
    end = time.monotonic() + seconds
    told = False
    while (connection := await _try_lock(engine)) is None:
        if time.monotonic() >= end:
            raise MigrationLocked(_still_locked(engine, seconds))
        if not told:
            logger.warning("another migration of this database runs; waiting for it for at most %g s", seconds)
            told = True
        await asyncio.sleep(PAUSE_SECONDS)
    try:
        yield connection
    finally:
        # It is not given back to the pool: the lock ends with it, and so do its long time limits.
        await connection.invalidate()
        await connection.close()


def lock_name(engine: AsyncEngine) -> str:
    """Return the name of the lock on MariaDB, whose locks are the whole server's."""
    return f"tidings-migrate-{engine.url.database}"


async def _try_lock(engine: AsyncEngine) -> AsyncConnection | None:
    """Return a connection that holds the lock, or `None` when another one has had it for a second or so."""
    try:
        connection = await engine.connect()
    except OperationalError as error:
        if is_locked(error):  # a new file of SQLite is locked while another process prepares it
            return None
        raise
    try:
        take = _lock_mariadb if engine.dialect.name == "mysql" else _lock_sqlite
        if await take(connection, engine):
            return connection
    except BaseException:
        await connection.close()
        raise
    await connection.close()
    return None


async def _lock_mariadb(connection: AsyncConnection, engine: AsyncEngine) -> bool:
    # Rebuilding a large table takes longer than any request may.
    await connection.exec_driver_sql(f"SET SESSION max_statement_time=0, lock_wait_timeout={TABLE_SECONDS}")
    taken = await connection.execute(text("SELECT GET_LOCK(:name, 1)"), {"name": lock_name(engine)})
    return bool(taken.scalar_one())


async def _lock_sqlite(connection: AsyncConnection, _: AsyncEngine) -> bool:
    await connection.execution_options(**{WRITES: True})
    try:
        await connection.begin()
    except OperationalError as error:
        if is_locked(error):
            return False
        raise
    return True


def _still_locked(engine: AsyncEngine, seconds: float) -> str:
    finding = ""
    if engine.dialect.name == "mysql":
        finding = f", or end its connection, which SELECT IS_USED_LOCK('{lock_name(engine)}') names,"
    return f"another migration of this database still runs after {seconds:g} s: wait for it{finding} and run this again"
