"""Passwords: argon2id in a bounded pool of threads, so that hashing stops neither the loop nor the service."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tidings.admission import place_given_up
from tidings_auth.common_passwords import is_common
from tidings_auth.usernames import folded

T = TypeVar("T")

MAX_LENGTH = 256
MAX_GIVEN = 4 * MAX_LENGTH
"""Characters of a password that is only compared; a longer one is nobody's."""
CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
WORKERS = max(1, min(4, CORES - 1))
"""One core stays for the loop, where there is more than one."""
QUEUE = 32
"""How many hashes may wait; at some 20 ms each that is under a second."""
NICE = 10
"""How far the threads stand back for the loop when both want the same core."""


class HashingBusy(Exception):
    """So many passwords are being hashed that another would wait too long."""


class Verdict(Enum):
    """What a look at a password found."""

    WRONG = auto()
    RIGHT = auto()
    OUTDATED = auto()
    """It is right, and to be hashed anew: the parameters have changed since."""


class Passwords:
    """Hashes and verifies passwords with OWASP's parameters for argon2id (19 MiB, 2 passes, 1 lane)."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="argon2", initializer=_stand_back)
        self._waiting = 0
        # Verified against when there is no such user, so that a failed login always takes as long.
        self._nobody = self._hasher.hash(os.urandom(16))
        self._pool.submit(is_common, "")  # reads the list before somebody needs it

    async def hash(self, password: str) -> str:
        """Return the encoded hash of `password`.

        Raises:
            HashingBusy: the queue is full.
        """
        if self._waiting >= QUEUE // 2 + WORKERS:
            raise HashingBusy("Too many passwords are being chosen at this moment.")  # some places are for who signs in
        return await self._run(lambda: self._hasher.hash(_octets(password)))

    async def verify(self, encoded: str | None, password: str) -> Verdict:
        """Tell whether `password` is the one behind `encoded`; takes as long when `encoded` is `None`.

        Raises:
            HashingBusy: the queue is full.
        """

        def verify() -> Verdict:
            try:
                self._hasher.verify(encoded or self._nobody, _octets(password))
            except (VerificationError, InvalidHashError):
                return Verdict.WRONG
            if encoded is None:
                return Verdict.WRONG
            return Verdict.OUTDATED if self._hasher.check_needs_rehash(encoded) else Verdict.RIGHT

        return await self._run(verify)

    def look_for_a_place(self) -> None:
        """Raise `HashingBusy` when `verify` would, now: before anything is done for an attempt that will be refused."""
        if self._waiting >= QUEUE + WORKERS:
            raise HashingBusy("Too many people sign in at this moment.")

    def close(self) -> None:
        """End the pool; waits for no hash."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        """Run `work` in the pool; who is cancelled while it waits there gives its place back, and nothing is hashed."""
        self.look_for_a_place()
        self._waiting += 1
        try:
            async with place_given_up():  # this queue has a bound of its own; who only reads need not wait for it
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1


def check_policy(password: str, username: str, min_length: int) -> None:
    """Raise `ValueError`, saying what to change, when `password` is not allowed for `username`."""
    if not min_length <= len(password) <= MAX_LENGTH:
        raise ValueError(f"a password has {min_length} to {MAX_LENGTH} characters")
    if any("\ud800" <= character <= "\udfff" for character in password):
        raise ValueError("contains half of a surrogate pair, which is no character")
    if username and folded(username) in folded(password):
        raise ValueError("a password must not contain the username")
    if is_common(password):
        raise ValueError("this password is one of the most common; choose another")


def _octets(password: str) -> bytes:
    """Return the password as it was received; half a surrogate pair, too, so that it is merely wrong."""
    return password.encode(errors="surrogatepass")


def _stand_back() -> None:
    """Lower the priority of this thread; only Linux has one for each."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
