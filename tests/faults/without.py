"""`python -m faults.without SAFEGUARD PACKAGE serve`: a service with one of its safeguards switched off.

Only here can that be done: the function that is the safeguard is replaced before the service starts, and the service
itself has no switch for it.
"""

import asyncio
import runpy
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.transactions import Database, Transaction
from tidings.events import uuid7

T = TypeVar("T")

LATE_SECONDS = 0.5


def inbox_key() -> None:
    """The store takes an event that it has for a new one, and keeps no positions that would spare it such an event.

    It is slow, so that a kill comes before the commit.
    """
    from tidings_log_consumer.ingest import Ingest
    from tidings_log_consumer.tables import entries

    write = Ingest._write

    async def write_all(self: Ingest, rows: Sequence[dict[str, Any]], following: Any) -> None:
        async def known(connection: AsyncConnection) -> set[UUID]:
            ids = select(entries.c.event_id).where(entries.c.event_id.in_([row["event_id"] for row in rows]))
            return set((await connection.execute(ids)).scalars())

        there = await self._database.read(known)
        await write(self, [row | {"event_id": uuid7()} if row["event_id"] in there else row for row in rows], {})
        await asyncio.sleep(LATE_SECONDS)

    Ingest._write = write_all  # type: ignore[method-assign]


def aggregate_lock() -> None:
    """An account's next number is taken without holding its row until the commit, so a later one may come first."""
    from tidings_auth import accounts, sessions
    from tidings_auth.tables import users

    take = accounts.next_sequence

    async def looked_at(transaction: Transaction, user_id: UUID) -> accounts.Account:
        row = (await transaction.execute(select(users).where(users.c.id == user_id))).one()
        return accounts.account_of(row)

    async def take_and_let_go(transaction: Transaction, user_id: UUID, count: int = 1) -> int:
        async with transaction._connection.engine.begin() as another:
            number = await take(Transaction(another), user_id, count)
        await asyncio.sleep(LATE_SECONDS * (number % 2))
        return number

    # The names under which they are used.
    sessions.locked = looked_at  # type: ignore[attr-defined]
    sessions.next_sequence = take_and_let_go  # type: ignore[attr-defined]


def commit_before_answer() -> None:
    """A post is answered at once, and committed a moment later."""
    from tidings_messages.posting import Posting

    class Late:
        def __init__(self, database: Database) -> None:
            self._database = database
            self._commits: set[asyncio.Task[Any]] = set()

        async def run_in_transaction(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
            result: asyncio.Future[T] = asyncio.get_running_loop().create_future()

            async def work_and_wait(transaction: Transaction) -> None:
                result.set_result(await work(transaction))
                await asyncio.sleep(LATE_SECONDS)

            commit = asyncio.create_task(self._database.run_in_transaction(work_and_wait))
            self._commits.add(commit)
            return await result

    post = Posting.post

    async def post_late(self: Posting, *arguments: Any) -> Any:
        if isinstance(self._idempotency._database, Database):
            self._idempotency._database = Late(self._idempotency._database)  # type: ignore[assignment]
        return await post(self, *arguments)

    Posting.post = post_late  # type: ignore[method-assign,assignment]


def idempotency_key() -> None:
    """Keys are not looked at; and answers are late, so that a kill comes between the commit and the answer."""
    from tidings.idempotency.key import IdempotencyKey
    from tidings.idempotency.once import Idempotency

    async def run(
        self: Idempotency, key: IdempotencyKey | None, work: Callable[[Transaction], Awaitable[T]], kind: type[T]
    ) -> T:
        result = await self._database.run_in_transaction(work)
        await asyncio.sleep(LATE_SECONDS)
        return result

    Idempotency.run = run  # type: ignore[method-assign]


def seek_back() -> None:
    """After a record that cannot be read, partitions that have moved on stay where they are."""
    seek = AIOKafkaConsumer.seek

    def seek_forward(self: "AIOKafkaConsumer[Any, Any]", partition: TopicPartition, offset: int) -> None:
        if offset > self._subscription.subscription.assignment.state_value(partition).position:
            seek(self, partition, offset)

    AIOKafkaConsumer.seek = seek_forward


def admission() -> None:
    """However many requests there are, all are worked on at once."""
    from tidings.admission import Admission

    async def enter(self: Admission) -> bool:
        self.taken += 1
        return True

    Admission.enter = enter  # type: ignore[method-assign]


def body_before_place() -> None:
    """A request takes a place before its body is there, and keeps it while the body comes."""
    from tidings.http import overload

    overload._declares_body = lambda *_: False


def producer_rebuild() -> None:
    """A producer is kept, whatever its errors were."""
    from tidings.kafka.publisher import Publisher

    Publisher._discard = lambda self: None  # type: ignore[method-assign]


def delete_in_pieces() -> None:
    """What the broker acknowledged is deleted at once, with a request's deadline, and forgotten when that fails."""
    from tidings.outbox.settling import Settlement

    async def delete_all(self: Settlement) -> None:
        positions = list(self._positions)
        self.forget()

        async def delete(transaction: Transaction) -> None:
            await transaction.execute(self._table.delete().where(self._table.c.position.in_(positions)))

        await self._database.run_in_transaction(delete)

    Settlement.delete_some = delete_all  # type: ignore[method-assign]


def parked_retry() -> None:
    """Rows that the broker refused are never tried again."""
    from tidings.outbox.parking import Retries

    Retries.due = False  # type: ignore[method-assign,assignment]


SAFEGUARDS: dict[str, Callable[[], None]] = {
    "inbox-key": inbox_key,
    "aggregate-lock": aggregate_lock,
    "commit-before-answer": commit_before_answer,
    "idempotency-key": idempotency_key,
    "seek-back": seek_back,
    "delete-in-pieces": delete_in_pieces,
    "parked-retry": parked_retry,
    "producer-rebuild": producer_rebuild,
    "admission": admission,
    "body-before-place": body_before_place,
}

if __name__ == "__main__":
    _, safeguard, package, *arguments = sys.argv
    SAFEGUARDS[safeguard]()
    sys.argv = [package, *arguments]
    runpy.run_module(package, run_name="__main__")
