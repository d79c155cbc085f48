"""Ending: a session ends once, with its event; then every service is told, for its access tokens are still good.

The database is the truth. The telling follows the commit, and what it did not reach (a crash in between, Redis away,
a session ended at the command line) is told within a second of both being there.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from redis.asyncio import Redis
from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings.events import SessionEnded
from tidings.kafka.loops import end
from tidings.outbox.record import Outbox
from tidings.redis.errors import RedisUnavailable
from tidings.redis.revocations import Revocations, announce, is_kept
from tidings_auth.accounts import Account, next_sequence
from tidings_auth.rotation import Rotation
from tidings_auth.tables import sessions

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
PAUSE_SECONDS = 0.1
OVERLAP = timedelta(seconds=90)
"""How much older than the newest end one may be that is new: it was committed late, by a host whose clock is behind."""
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
        self._redis = redis
        self._rotation = rotation
        self._heard = heard
        self._lifetime = lifetime
        self._connection = 0
        self._told: dict[UUID, datetime] = {}
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
        await self._announce([(session_id, datetime.now(UTC))])

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
        lost = bool(self._told) and not await is_kept(self._redis)
        if lost or self._connection != self._heard.connections:
            self._connection = self._heard.connections
            self._told.clear()
        matters = datetime.now(UTC) - self._lifetime
        newest = max(self._told.values(), default=matters)
        ended = await self._ended(since=max(matters, newest - OVERLAP))
        news = [(session_id, at) for session_id, at in ended if session_id not in self._told]
        for start in range(0, len(news), AT_ONCE):
            await self._announce(news[start : start + AT_ONCE])
            self._told.update(news[start : start + AT_ONCE])
        self._told = {session_id: at for session_id, at in self._told.items() if at > matters}

    async def _announce(self, ended: Sequence[tuple[UUID, datetime]]) -> None:
        await announce(self._redis, [(session_id, (at + self._lifetime).timestamp()) for session_id, at in ended])
        await self._rotation.forget([session_id for session_id, _ in ended])

    async def _ended(self, since: datetime) -> Sequence[tuple[UUID, datetime]]:
        async def read(connection: AsyncConnection) -> Sequence[tuple[UUID, datetime]]:
            statement = select(sessions.c.id, sessions.c.ended_at).where(sessions.c.ended_at > since)
            # Oldest first: where telling stops half way, what is left is newer than all that is told.
            rows = await connection.execute(statement.order_by(sessions.c.ended_at))
            return [(row.id, row.ended_at) for row in rows]

        return await self._database.read(read)

    async def _purge(self) -> None:
        """Remove, now and then, the rows that nothing depends on any more."""
        now = asyncio.get_running_loop().time()
        if now - self._purged < PURGE_SECONDS:
            return
        self._purged = now
        moment = datetime.now(UTC)
        over = or_(sessions.c.ended_at < moment - 2 * self._lifetime, sessions.c.expires_at < moment)

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
        now = datetime.now(UTC)
        live = (sessions.c.user_id == account.id) & sessions.c.ended_at.is_(None) & (sessions.c.expires_at > now)
        chosen = live if which is None else live & which
        ids = (await transaction.execute(select(sessions.c.id).where(chosen))).scalars().all()
        if ids:
            ended = update(sessions).where(sessions.c.id.in_(ids))
            await transaction.execute(ended.values(ended_at=now, device=None, address=None))
            first = await next_sequence(transaction, account.id, len(ids))
            for sequence, session_id in enumerate(ids, first):
                data = SessionEnded(user_id=account.id, username=account.username, session_id=session_id, reason=reason)
                await self._outbox.record(transaction, data, sequence)
        transaction.after_commit(self._wake)
        return ids
