"""Once: a unit of work has one effect for each idempotency key, and its first result is the result of every repeat.

The key is claimed and the result stored in the transaction of the effect: whatever crashes, all are there or none is.
A refusal rolls everything back and so is not remembered; the same key may be tried again.
"""

import hmac
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Row, Table, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.moments import database_now
from tidings.database.statements import insert_at_once
from tidings.database.transactions import LOCK_WAIT, Database, Transaction, error_code
from tidings.idempotency.key import LIFETIME, IdempotencyKey, IdempotencyKeyInUse, IdempotencyKeyReused

T = TypeVar("T")

adapter: Callable[[Any], TypeAdapter[Any]] = lru_cache(TypeAdapter)
"""Returns what writes and reads results of a type; costly to make, so each is made once."""


class Idempotency:
    """Remembers the result of each key for 24 hours.

    Args:
        database: of the service.
        table: made by `idempotency_table`.
        secret: keys the fingerprints of requests.
    """

    def __init__(self, database: Database, table: Table, secret: str) -> None:
        self._database = database
        self._table = table
        self._secret = secret.encode()

    async def first_result(self, key: IdempotencyKey | None, kind: type[T]) -> T | None:
        """Return the result that `key` has already: a look before work that is expensive.

        Raises:
            IdempotencyKeyReused: the key came with another request.
            DatabaseUnavailable: nobody can know.
        """
        if key is None:
            return None
        row = await self._database.read(lambda connection: self._find(connection, key))
        return self._replay(row, key, kind) if row and not row.expired else None

    async def run(self, key: IdempotencyKey | None, work: Callable[[Transaction], Awaitable[T]], kind: type[T]) -> T:
        """Run `work` in a transaction, or return the result that `key` has already.

        Args:
            key: without one, `work` is simply run.
            work: as for `run_in_transaction`.
            kind: what `work` returns, nothing secret and never `None`: a type that pydantic writes as JSON, and that
                the next release still reads.

        Raises:
            IdempotencyKeyInUse: the first request with this key is not finished; nothing was done.
            IdempotencyKeyReused: the key came with another request; nothing was done.
            DatabaseUnavailable: nothing is known to be done; the same key may be tried again.
        """
        if key is None:
            return await self._database.run_in_transaction(work)

        async def work_once(transaction: Transaction) -> T:
            if earlier := await self._claim(transaction, key):
                return self._replay(earlier, key, kind)
            result = await work(transaction)
            await self._remember(transaction, key, adapter(kind).dump_json(result).decode())
            return result

        return await self._database.run_in_transaction(work_once)

    async def _claim(self, transaction: Transaction, key: IdempotencyKey) -> Row[Any] | None:
        """Make the key this transaction's own, or return the row that an earlier one committed."""
        claim = {"fingerprint": key.fingerprint(self._secret), "created_at": database_now(), "answer": None}
        try:
            await transaction.execute(insert_at_once(self._table).values(id=key.digest(), **claim))
            return None
        except IntegrityError:
            earlier = await self._find(transaction, key)
        except OperationalError as error:
            if error_code(error) != LOCK_WAIT:
                raise
            raise IdempotencyKeyInUse("The first request with this Idempotency-Key still runs; try again.") from None
        if earlier and not earlier.expired:
            return earlier
        await transaction.execute(update(self._table).where(self._table.c.id == key.digest()).values(claim))
        return None

    async def _remember(self, transaction: Transaction, key: IdempotencyKey, answer: str) -> None:
        await transaction.execute(update(self._table).where(self._table.c.id == key.digest()).values(answer=answer))

    async def _find(self, connection: AsyncConnection | Transaction, key: IdempotencyKey) -> Row[Any] | None:
        expired = self._table.c.created_at <= database_now(-LIFETIME)
        statement = select(self._table, expired.label("expired")).where(self._table.c.id == key.digest())
        return (await connection.execute(statement)).first()

    def _replay(self, row: Row[Any], key: IdempotencyKey, kind: type[T]) -> T:
        if not hmac.compare_digest(row.fingerprint, key.fingerprint(self._secret)):
            raise IdempotencyKeyReused("This Idempotency-Key was sent before with another request; use a new one.")
        key.replayed()
        result: T = adapter(kind).validate_json(row.answer)
        return result
