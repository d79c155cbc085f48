"""Ending: a session ends once, with its event; then every service is told, for its access tokens are still good.

The database is the truth. The telling follows the commit, and what it did not reach (a crash in between, Redis away,
a session ended at the command line) is told within a second of both being there.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from redis.asyncio import Redis
from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.moments import database_now
from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings.events import SessionEnded
from tidings.kafka.loops import end
from tidings.outbox.record import Outbox
from tidings.redis.errors import RedisUnavailable
from tidings.redis.revocations import Announcements, Revocations
from tidings_auth.accounts import Account, next_sequence
from tidings_auth.rotation import Rotation
from tidings_auth.tables import sessions

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
PAUSE_SECONDS = 0.1
RECENT = timedelta(seconds=10)
"""How far back an ordinary sweep looks: longer than a transaction takes from the time it writes to its commit."""
WHOLE_SECONDS = 30.0
"""How often a sweep looks at all that matters, in case that a commit took longer or the database's clock was moved."""
PURGE_SECONDS = 60.0
AT_ONCE = 500
"""Sessions that are told of, or purged, in one go."""


class Announcer:
    """Tells every service which sessions have ended, as long as an access token of theirs could be good.

    Args:
        database: of the auth service.
        redis: carries the word.
        rotation: forgets their refresh tokens.
        heard: what this service hears of it; when it had to connect again, Redis may have forgotten.
        lifetime: of an access token, the clocks' difference included.
    """

    def __init__(
        self, database: Database, redis: Redis, rotation: Rotation, heard: Revocations, lifetime: timedelta
    ) -> None:
        self._database = database
        self._announcements = Announcements(redis)
        self._rotation = rotation
        self._heard = heard
        self._lifetime = lifetime
        self._connection = 0
        self._announced: set[UUID] = set()
        self._whole_at = -WHOLE_SECONDS
        self._woken = asyncio.Event()
        self._purged = -PURGE_SECONDS
        self._waiting = False

    def wake(self) -> None:
        """Have what is committed told at once."""
        self._woken.set()

    async def tell(self, session_id: UUID) -> None:
        """Tell of one session that has ended.

        Raises:
            RedisUnavailable: Redis does not answer; it is told once Redis does.
        """
        await self._announce(await self._ended(sessions.c.id == session_id))

    async def run(self) -> None:
        """Tell what is not told, whenever something ended and every second; runs for the life of the service."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._woken.wait()
            await asyncio.sleep(PAUSE_SECONDS)  # what ends at the same time is told of together
            self._woken.clear()
            try:
                await self._sweep()
                await self._purge()
            except (DatabaseUnavailable, RedisUnavailable) as error:
                if not self._waiting:
                    logger.warning("ended sessions are not told of yet: %s", error)
                self._waiting = True
                await asyncio.sleep(SWEEP_SECONDS)
            else:
                self._waiting = False

    async def stop(self, task: "asyncio.Task[None]", deadline: float) -> None:
        """End `task`, which runs this."""
        task.cancel()
        await end(task, deadline)

    async def _sweep(self) -> None:
        """Announce the ended sessions that are not announced yet: the recent ones, or from time to time all."""
        complete = await self._announcements.are_complete() and self._connection == self._heard.connections
        if not complete:  # Redis may have lost some of them
            self._connection = self._heard.connections
            self._announced.clear()
            mark = await self._announcements.begin_anew()
        now = asyncio.get_running_loop().time()
        whole = not complete or now - self._whole_at >= WHOLE_SECONDS
        ended = await self._ended(sessions.c.ended_at > database_now(-self._lifetime if whole else -RECENT))
        news = [session_id for session_id in ended if session_id not in self._announced]
        for start in range(0, len(news), AT_ONCE):
            some = news[start : start + AT_ONCE]
            await self._announce(some)
            self._announced.update(some)
        if not complete:
            await self._announcements.complete(mark)
        if whole:
            self._announced = set(ended)
            self._whole_at = now

    async def _announce(self, ended: Sequence[UUID]) -> None:
        await self._announcements.add(ended)
        await self._rotation.forget(ended)

    async def _ended(self, which: ColumnElement[bool]) -> Sequence[UUID]:
        async def read(connection: AsyncConnection) -> Sequence[UUID]:
            statement = select(sessions.c.id).where(which, sessions.c.ended_at.is_not(None))
            return (await connection.execute(statement.order_by(sessions.c.ended_at))).scalars().all()

        return await self._database.read(read)

    async def _purge(self) -> None:
        """Remove, now and then, the rows that nothing depends on any more."""
        now = asyncio.get_running_loop().time()
        if now - self._purged < PURGE_SECONDS:
            return
        self._purged = now
        forgotten = sessions.c.ended_at < database_now(-2 * self._lifetime)
        over = or_(forgotten, sessions.c.expires_at < database_now())

        async def remove(transaction: Transaction) -> int:
            ids = (await transaction.execute(select(sessions.c.id).where(over).limit(AT_ONCE))).scalars().all()
            if ids:
                await transaction.execute(delete(sessions).where(sessions.c.id.in_(ids)))
            return len(ids)

        while await self._database.run_in_transaction(remove) == AT_ONCE:
            pass


class Ending:
    """Ends sessions within the transaction of whatever ends them.

    Args:
        outbox: takes a `session.ended` event for each.
        wake: called after the commit, to have every service told at once; at the command line nobody need be woken.
    """

    def __init__(self, outbox: Outbox, wake: Callable[[], None] = lambda: None) -> None:
        self._outbox = outbox
        self._wake = wake

    async def end(
        self, transaction: Transaction, account: Account, reason: str, which: ColumnElement[bool] | None = None
    ) -> Sequence[UUID]:
        """End the account's live sessions, or `which` of them; the transaction must hold the lock of its row.

        Returns:
            The ids of those that this ended.
        """
        unexpired = sessions.c.expires_at > database_now()
        live = (sessions.c.user_id == account.id) & sessions.c.ended_at.is_(None) & unexpired
        chosen = live if which is None else live & which
        ids = (await transaction.execute(select(sessions.c.id).where(chosen))).scalars().all()
        if ids:
            ended = update(sessions).where(sessions.c.id.in_(ids))
            await transaction.execute(ended.values(ended_at=database_now(), device=None, address=None))
            first = await next_sequence(transaction, account.id, len(ids))
            for sequence, session_id in enumerate(ids, first):
                data = SessionEnded(user_id=account.id, username=account.username, session_id=session_id, reason=reason)
                await self._outbox.record(transaction, data, sequence)
        transaction.after_commit(self._wake)
        return ids
