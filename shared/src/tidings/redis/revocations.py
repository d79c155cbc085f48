"""Revocations: the sessions that ended while an access token of theirs may still be good, in one Redis stream.

Auth announces them; every service keeps them in memory, so that no request waits for Redis to know. Without Redis an
ended session's tokens are good until they expire.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tidings.redis.client import answering

logger = logging.getLogger(__name__)

STREAM = "tidings:revocations"
COMPLETE_MARK = "tidings:revocations:complete"
BEGUN_MARK = "tidings:revocations:begun"
LONGEST_LIFETIME = 3600
"""Seconds that an access token may be good at most, whatever auth is told."""
CLOCKS = 60
"""Seconds by which the clocks of auth, Redis and a reader may differ."""
KEEP_SECONDS = LONGEST_LIFETIME + CLOCKS
"""How long an ended session matters: by then its last access token has expired, whatever auth's setting is."""
BATCH = 100
"""Reading so many takes a few milliseconds, in which no request is answered."""
BLOCK_MS = 500
"""How long one read waits for news: less than the client's patience with a silent server."""
RETRY_SECONDS = 0.5
FRESH_SECONDS = 3.0
"""Redis was heard from within this time unless something is wrong."""
ANNOUNCE_SECONDS = 1.5

ANNOUNCE = """
local oldest = string.format('%.0f', (redis.call('TIME')[1] - ARGV[1]) * 1000)
for i = 2, #ARGV do
    redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*', 'sid', ARGV[i])
end
"""
"""Adds entries, and removes those that no token depends on any more. Entry ids are times by Redis's clock, so what is
old is decided by that clock too: a host whose clock is ahead would remove entries that still matter.

KEYS: the stream. ARGV: for how many seconds an entry matters, then the id of each session.
"""

COMPLETE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[2], 1) end"
"""Sets the second key if the first still has the value that was written before the announcements."""


class RevocationsStale(Exception):
    """Redis has not been heard from; the message says since when, and what that means."""


class Announcements:
    """Writes which sessions have ended, for every service to read.

    A mark beside the stream says that all ended sessions that matter are in it. It is lost together with the stream,
    so a stream without it may lack some.

    Args:
        redis: takes the announcements.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._announce = redis.register_script(ANNOUNCE)
        self._complete = redis.register_script(COMPLETE)

    async def add(self, sessions: Iterable[UUID]) -> None:
        """Announce that these sessions have ended; to announce one again does no harm.

        Args:
            sessions: the id of each. All go in one round trip: some hundreds of sessions, not all there are.

        Raises:
            RedisUnavailable: Redis did not confirm it in time.
        """
        async with answering(ANNOUNCE_SECONDS):
            await self._announce(keys=[STREAM], args=[KEEP_SECONDS, *map(str, sessions)])

    async def are_complete(self) -> bool:
        """Return whether all that matters is announced.

        Raises:
            RedisUnavailable: not known.
        """
        async with answering():
            return bool(await self._redis.exists(COMPLETE_MARK))

    async def begin_anew(self) -> str:
        """Begin to announce all that matters, and return what `complete` needs.

        Raises:
            RedisUnavailable: Redis did not confirm it in time.
        """
        mark = uuid4().hex
        async with answering():
            await self._redis.set(BEGUN_MARK, mark)
        return mark

    async def complete(self, mark: str) -> None:
        """Say that all that matters is announced, unless Redis lost its data since `begin_anew` returned `mark`.

        Raises:
            RedisUnavailable: Redis did not confirm it in time.
        """
        async with answering():
            await self._complete(keys=[BEGUN_MARK, COMPLETE_MARK], args=[mark])


class Revocations:
    """Knows which sessions have ended, as far as Redis has told.

    Args:
        redis: read from; one connection is kept for it.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._forget_at: dict[UUID, float] = {}
        self._trouble = "it has not answered yet"
        self._following = False
        self._tried = asyncio.Event()
        self._stopping = False
        self._heard_at = 0.0
        self.as_of: datetime | None = None
        """When all that Redis had was last known."""
        self.connections = 0
        """How often Redis was connected to; it may have lost its data in between."""
        self.ignored = 0
        """Entries read that are no revocations."""

    def is_ended(self, session_id: UUID) -> bool:
        """Whether the session has ended, and one of its access tokens may not have expired yet."""
        return session_id in self._forget_at

    async def check(self) -> None:
        """Raise `RevocationsStale` when Redis was not heard from lately."""
        if self.as_of is None:
            raise RevocationsStale(
                f"not heard from Redis since the start, so no ended session is known: {self._trouble}"
            )
        age = time.monotonic() - self._heard_at
        if age > FRESH_SECONDS:
            raise RevocationsStale(
                f"last heard from Redis {age:.0f} s ago; until it is back, a session that ended since is refused only "
                f"when its access token expires: {self._trouble}"
            )

    async def tried(self, seconds: float) -> None:
        """Wait until `run` has learned what ended before, or that Redis does not say; `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._tried.wait()

    async def run(self) -> None:
        """Follow the stream until `stop`, through every loss of Redis."""
        while not self._stopping:
            try:
                # Not by the client's own context manager: a cancellation while it closes leaves the connection open.
                async with contextlib.aclosing(self._redis.client()) as connection:
                    await self._follow(connection)
            except (RedisError, OSError) as error:
                self._note_loss(error)
            self._forget_past()
            await asyncio.sleep(RETRY_SECONDS)

    async def stop(self, task: "asyncio.Task[None]", deadline: float) -> None:
        """End `task`, which runs this reader, within `deadline` seconds."""
        self._stopping = True  # a cancellation alone can get lost in `asyncio.wait_for` of Python 3.11
        task.cancel()
        await asyncio.wait([task], timeout=deadline)

    async def _follow(self, connection: Redis) -> None:
        """Read from the beginning: a Redis that lost its data may count from an earlier id than the last one read."""
        last, block = "0", None
        self.connections += 1
        while not self._stopping:
            found: Any = await connection.xread({STREAM: last}, count=BATCH, block=block)
            entries: list[tuple[str, dict[str, str]]] = found[0][1] if found else []
            for _, fields in entries:
                self._learn(fields)
            self._forget_past()
            last = entries[-1][0] if entries else last
            if len(entries) < BATCH:
                self._note_word()
                block = BLOCK_MS

    def _learn(self, fields: Mapping[str, str]) -> None:
        try:
            session_id = UUID(fields["sid"])
        except (KeyError, TypeError, ValueError, AttributeError):
            self._note_stranger()
            return
        # By the monotonic clock: if the host's clock is set ahead and back, it must not let an ended session in again.
        self._forget_at.setdefault(session_id, time.monotonic() + KEEP_SECONDS)

    def _forget_past(self) -> None:
        now = time.monotonic()
        # A dict keeps the order in which its keys came, which is that of these times.
        while self._forget_at and self._forget_at[session_id := next(iter(self._forget_at))] <= now:
            del self._forget_at[session_id]

    def _note_word(self) -> None:
        if not self._following:
            logger.info("ended sessions are known: %d that matter", len(self._forget_at))
        self._following = True
        self.as_of = datetime.now(UTC)
        self._heard_at = time.monotonic()
        self._tried.set()

    def _note_loss(self, error: Exception) -> None:
        self._trouble = str(error) or type(error).__name__
        if self._following:
            logger.warning("news of ended sessions does not come in: %s", self._trouble)
        self._following = False
        self._tried.set()

    def _note_stranger(self) -> None:
        if not self.ignored:
            logger.warning("an entry of the stream %s is no revocation; it and others like it are ignored", STREAM)
        self.ignored += 1
