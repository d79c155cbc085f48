"""Access tokens: signed with Ed25519 (RFC 8037), typed `at+jwt` (RFC 9068); the public keys are a JWK set."""

import time
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tidings.events import uuid7
from tidings.http.bearer import CLOCK_SKEW
from tidings.principal import Principal
from tidings_auth.key_file import SigningKeys
from tidings_auth.keyring import SigningKey
from tidings_auth.settings import SigningSettings

SLACK = 30
"""Seconds in which a refresh that found its session live may still issue a token, and replicas' clocks may differ."""


class TokenIssuer:
    """Issues access tokens, and knows the keys that verify them.

    Args:
        settings: issuer, audience, lifetime.
        keys: sign.
    """

    def __init__(self, settings: SigningSettings, keys: SigningKeys) -> None:
        self._settings = settings
        self._keys = keys
        self.lifetime = settings.lifetime_seconds
        self.longest = timedelta(seconds=self.lifetime + CLOCK_SKEW + SLACK)
        """How long after its session ended a token may be believed somewhere."""

    def issue(self, principal: Principal, at: datetime, session_expires: datetime) -> tuple[str, int]:
        """Return a token that speaks for `principal`, and for how many seconds: never beyond the end of its session.

        Args:
            principal: whom it speaks for.
            at: the present moment by the database's clock, which also says when a session ended. A token that a host
                dates into the future would outlive the announcement that its session has ended.
            session_expires: by the same clock.
        """
        now = int(at.timestamp())
        seconds = max(1, min(self.lifetime, int(session_expires.timestamp()) - now))
        key = self._keys.ring.current(int(time.time()))
        claims = {
            "iss": self._settings.issuer,
            "aud": self._settings.audience,
            "sub": str(principal.user_id),
            "sid": str(principal.session_id),
            "name": principal.username,
            "role": principal.role,
            "iat": now,
            "exp": now + seconds,
            "jti": str(uuid7()),
        }
        headers = {"typ": "at+jwt", "kid": key.kid}
        return jwt.encode(claims, key.private, algorithm="EdDSA", headers=headers), seconds

    def key_set(self) -> dict[str, Any]:
        """Return the public keys as a JWK set (RFC 7517)."""
        return {"keys": [key.public_jwk for key in self._published()]}

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the public key named `kid`, or `None`: auth verifies with its own keys."""
        return next((key.public for key in self._published() if key.kid == kid), None)

    def _published(self) -> tuple[SigningKey, ...]:
        return self._keys.ring.known(int(time.time()), self._settings.keep_seconds).keys
