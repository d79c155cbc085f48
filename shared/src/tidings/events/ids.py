"""Identifiers: UUIDv7, whose order in bytes is their order in time (RFC 9562 section 5.7)."""

import os
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last = 0


def uuid7() -> UUID:
    """Return a new UUIDv7, greater than every one this process made before.

    The 12 bits after the milliseconds count on within one millisecond (RFC 9562 section 6.2,
    method 1), so that ids made in a burst keep their order.
    """
    global _last
    with _lock:
        now = time.time_ns() // 1_000_000 << 12
        _last = now | (_random_bits(11)) if now > _last | 0xFFF else _last + 1
        stamp = _last
    return UUID(int=stamp >> 12 << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | _random_bits(62))


def _random_bits(count: int) -> int:
    return int.from_bytes(os.urandom(8), "big") >> (64 - count)
