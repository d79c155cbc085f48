"""The name throttle: who was told of many taken usernames must wait, so that nobody can quickly list the accounts.

Only the answer that a name is taken counts; registering a free name costs nothing. Each client network has one bucket
in Redis, `throttle:taken:<keyed hash of the network>`. The time that this key has left to live says how full the bucket
is: each answer adds a minute to it.

Without Redis registering goes on unthrottled. Then it is easier to list accounts, but nobody is kept from making one.
"""

import logging
from datetime import timedelta

from redis.asyncio import Redis

from tidings.redis.client import answering
from tidings.redis.errors import RedisUnavailable
from tidings_auth.throttle import keyed_hash, network

logger = logging.getLogger(__name__)

FREE = 20
REFILL = timedelta(minutes=1)
PATIENCE_SECONDS = 0.5
"""How long a registration waits for Redis before it goes on without the throttle."""

COUNT = """
local left = math.max(0, redis.call('PTTL', KEYS[1]))
redis.call('SET', KEYS[1], 1, 'PX', math.min(left + tonumber(ARGV[1]), tonumber(ARGV[2])))
"""
"""Adds an answer to the bucket in KEYS. ARGV, in milliseconds: what an answer adds, and the most there can be.

PTTL is negative when there is no bucket yet.
"""


class TooManyTakenNames(Exception):
    """The client's network asked for so many taken usernames that it must wait.

    Args:
        retry_after: whole seconds.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Too many usernames that you asked for were taken; try again in {retry_after} s.")
        self.retry_after = retry_after


class NameThrottle:
    """Counts the answers that a username is taken.

    Args:
        redis: keeps the counts.
        address_key: keys the hashes of addresses.
        free: how many answers a network gets without waiting.
        refill: how long it takes until one answer is forgotten.
    """

    def __init__(self, redis: Redis, address_key: str, free: int = FREE, refill: timedelta = REFILL) -> None:
        self._redis = redis
        self._key = address_key.encode()
        self._refill = refill // timedelta(milliseconds=1)
        self._full = free * self._refill
        self._count = redis.register_script(COUNT)

    async def admit(self, address: str) -> None:
        """Return when the client at `address` may ask for a username; that is always so without Redis.

        Raises:
            TooManyTakenNames: it must wait.
        """
        try:
            async with answering(PATIENCE_SECONDS):
                left = await self._redis.pttl(self._bucket(address))
        except RedisUnavailable:
            logger.warning("registering is not throttled: Redis does not answer")
            return
        wait = left + self._refill - self._full  # there must be room for one more answer
        if wait > 0:
            raise TooManyTakenNames(-(-wait // 1000))

    async def count(self, address: str) -> None:
        """Count that the client at `address` learned of a taken username; without Redis it is not counted."""
        most = 2 * self._full  # requests that are admitted together overfill a bucket; nobody shall wait for hours
        try:
            async with answering(PATIENCE_SECONDS):
                await self._count([self._bucket(address)], [self._refill, most])
        except RedisUnavailable:
            logger.warning("a taken username is not counted: Redis does not answer")

    def _bucket(self, address: str) -> str:
        return f"throttle:taken:{keyed_hash(self._key, 'address', network(address))}"
