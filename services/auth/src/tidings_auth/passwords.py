"""Passwords: argon2id in a bounded pool of threads, so that hashing stops neither the loop nor the service."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

T = TypeVar("T")

MAX_LENGTH = 256
WORKERS = max(1, min(4, os.cpu_count() or 1))
QUEUE = 32
"""How many hashes may wait; at some 20 ms each that is under a second."""


class HashingBusy(Exception):
    """So many passwords are being hashed that another would wait too long."""


class Passwords:
    """Hashes and verifies passwords with OWASP's parameters for argon2id (19 MiB, 2 passes, 1 lane)."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="argon2")
        self._waiting = 0
        # Verified against when there is no such user, so that a failed login always takes as long.
        self._nobody = self._hasher.hash(os.urandom(16))

    async def hash(self, password: str) -> str:
        """Return the encoded hash of `password`.

        Raises:
            HashingBusy: the queue is full.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Tell whether `password` is the one behind `encoded`; takes as long when `encoded` is `None`.

        Raises:
            HashingBusy: the queue is full.
        """

        def verify() -> bool:
            try:
                return self._hasher.verify(encoded or self._nobody, password) and encoded is not None
            except (VerificationError, InvalidHashError):
                return False

        return await self._run(verify)

    def close(self) -> None:
        """End the pool; waits for no hash."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= QUEUE + WORKERS:
            raise HashingBusy("Too many people sign in at this moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1


def check_policy(password: str, username: str, min_length: int) -> None:
    """Raise `ValueError`, saying what to change, when `password` is not allowed for `username`."""
    if not min_length <= len(password) <= MAX_LENGTH:
        raise ValueError(f"a password has {min_length} to {MAX_LENGTH} characters")
    if username and username.casefold() in password.casefold():
        raise ValueError("a password must not contain the username")
