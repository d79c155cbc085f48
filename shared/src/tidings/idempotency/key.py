"""The key: what tells a request that is sent again from a new one."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256

MAX_LENGTH = 128
LIFETIME = timedelta(hours=24)
FINGERPRINT_LABEL = b"idempotency: request\n"
"""Keeps apart what else the same secret keys."""


class IdempotencyKeyInUse(Exception):
    """The first request with this key is not finished."""


class IdempotencyKeyReused(Exception):
    """This key was sent before, with another request."""


@dataclass(frozen=True)
class IdempotencyKey:
    """A client's word that requests with this key are one and the same."""

    value: str
    """As the client sent it: visible ASCII, at most `MAX_LENGTH` characters."""
    caller: str
    """Whose key it is; those of different callers never meet."""
    operation: str
    """What it is for, e.g. `POST /api/messages`; those of different operations never meet."""
    request: bytes = field(repr=False)
    """What has to be the same each time, byte for byte; may contain a password."""
    replayed: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)
    """Called when the answer is that of an earlier request."""

    def digest(self) -> bytes:
        """Return what the key is remembered by.

        Not keyed with the secret: once that is changed, a request that is sent again is refused for its fingerprint,
        and has no second effect.
        """
        return sha256("\n".join((self.caller, self.value, self.operation)).encode()).digest()

    def fingerprint(self, secret: bytes) -> bytes:
        """Return what the request is recognized by; without `secret` nobody can try passwords on it."""
        return hmac.digest(secret, FINGERPRINT_LABEL + self.request, "sha256")
