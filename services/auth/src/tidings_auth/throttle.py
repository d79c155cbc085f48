"""The login throttle: attempts are counted before the password is looked at, and after too many the next must wait.

An attempt falls into three buckets: its account from its address, its address, and its account from all addresses that
have not signed in to it. So guessing is slowed down wherever it comes from, and nobody can lock somebody else out: a
known address does not wait for what others do, a new one not longer than the account's bucket says.

Redis sees keyed hashes only, and all keys of an account can be named without a scan:

    throttle:<address>, throttle:<account>, throttle:<account>:<address>    the buckets
    throttle:<account>:tried    sorted set: the addresses that may have a bucket with the account, by when it ends
    throttle:<account>:known    sorted set: the addresses that have signed in to the account, by when that is forgotten
"""

import asyncio
import hmac
import ipaddress
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any

from redis.asyncio import Redis

from tidings.admission import place_given_up
from tidings.redis.client import answering
from tidings.redis.errors import RedisUnavailable
from tidings_auth import throttle_scripts

logger = logging.getLogger(__name__)

KNOWN_FOR = timedelta(days=30)
SETTLE_SECONDS = 0.5
"""How long Redis may take to hear how an attempt ended; the person waits for it and is answered without it."""
HOLD_SECONDS = 1.0
"""How long a refusal is held back at least, and twice as long at most: a crowd must not come back all at once."""
HOLD_AT_MOST = 256
"""Refusals that are held back at a time: each is an open connection."""


@dataclass(frozen=True)
class Bucket:
    """How many attempts are free; from then on each waits twice as long as the one before, 1 s at first."""

    name: str
    free: int
    refill: int
    """Seconds of quiet that make one attempt forgotten."""
    longest: int
    """Seconds that nobody has to wait longer than."""


BUCKETS = (
    Bucket("account-and-address", free=5, refill=900, longest=900),
    Bucket("address", free=30, refill=60, longest=60),
    Bucket("account", free=100, refill=36, longest=60),
)


class TooManyAttempts(Exception):
    """So many attempts to sign in have failed that the next one must wait.

    Args:
        retry_after: whole seconds.
        bucket: which one says so.
    """

    def __init__(self, retry_after: int, bucket: Bucket) -> None:
        super().__init__(f"Too many attempts to sign in have failed; try again in {retry_after} s.")
        self.retry_after = retry_after
        self.bucket = bucket


@dataclass(frozen=True)
class Attempt:
    """An attempt that is counted. It stays so when the password is wrong; else one of the two is called."""

    _succeed: Callable[[], Awaitable[object]]
    _refund: Callable[[], Awaitable[object]]

    async def succeeded(self) -> None:
        """Start the account's counts anew, and know the address for 30 days."""
        await _settle(self._succeed)

    async def refund(self) -> None:
        """Take the attempt back: nobody looked at the password."""
        await _settle(self._refund)


class Throttle:
    """Admits attempts to sign in.

    Args:
        redis: keeps the counts.
        address_key: keys the hashes of accounts and addresses.
    """

    def __init__(self, redis: Redis, address_key: str) -> None:
        self._redis = redis
        self._key = address_key.encode()
        self._held_back = 0
        self._admit = redis.register_script(throttle_scripts.ADMIT)
        self._succeed = redis.register_script(throttle_scripts.SUCCEED)
        self._refund = redis.register_script(throttle_scripts.REFUND)

    async def admit(self, account_folded: str, address: str) -> Attempt:
        """Count an attempt and return it; a refused one is not counted.

        Args:
            account_folded: the folded username, whether or not there is such an account.
            address: the client's.

        Raises:
            TooManyAttempts: it must wait.
            RedisUnavailable: whether it is counted is not known.
        """
        keys = self._keys(account_folded)
        where = keyed_hash(self._key, "address", network(address))
        buckets = [keys.with_address(where), f"throttle:{where}", keys.bucket]
        names = [*buckets, keys.known, keys.tried]
        limits = [figure for it in BUCKETS for figure in (it.free, it.refill * 1000, it.longest * 1000)]
        async with answering():
            wait, number = await self._admit(names, [where, *limits])
        if wait:
            raise TooManyAttempts(-(-wait // 1000), BUCKETS[number - 1])
        known_for = int(KNOWN_FOR.total_seconds() * 1000)
        return Attempt(partial(self._succeed, names, [where, known_for]), partial(self._refund, buckets[:number]))

    async def hold_back(self) -> None:
        """Wait a moment before a refusal, so that who asks again at once does not take the service from others."""
        if self._held_back >= HOLD_AT_MOST:
            return
        self._held_back += 1
        try:
            async with place_given_up():
                await asyncio.sleep(random.uniform(HOLD_SECONDS, 2 * HOLD_SECONDS))
        finally:
            self._held_back -= 1

    async def forget(self, account_folded: str) -> None:
        """Remove everything that is kept of an account.

        Raises:
            RedisUnavailable: something may be left, until it ends by itself.
        """
        keys = self._keys(account_folded)
        async with answering():
            tried: list[Any] = await self._redis.zrange(keys.tried, 0, -1)
            await self._redis.delete(keys.bucket, keys.known, keys.tried, *map(keys.with_address, tried))

    def _keys(self, account_folded: str) -> "_Keys":
        return _Keys(f"throttle:{keyed_hash(self._key, 'account', account_folded)}")


@dataclass(frozen=True)
class _Keys:
    """The keys of one account."""

    bucket: str

    @property
    def known(self) -> str:
        return f"{self.bucket}:known"

    @property
    def tried(self) -> str:
        return f"{self.bucket}:tried"

    def with_address(self, hashed: str) -> str:
        return f"{self.bucket}:{hashed}"


async def _settle(script: Callable[[], Awaitable[object]]) -> None:
    try:
        async with answering(SETTLE_SECONDS):
            await script()
    except RedisUnavailable:
        logger.warning("an attempt to sign in stays counted: Redis does not answer")


def keyed_hash(key: bytes, kind: str, value: str) -> str:
    """Return what Redis sees of a name or address: its HMAC, so that nobody can read it there."""
    return hmac.new(key, f"throttle {kind} {value}".encode(), sha256).hexdigest()[:32]


def network(address: str) -> str:
    """Return what is one client: an IPv4 address, the /64 of an IPv6 address, any other text as it is."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found), 64), strict=False))
    return str(found)
