"""Access tokens: signed with Ed25519 (RFC 8037), typed `at+jwt` (RFC 9068); the public keys are a JWK set."""

import base64
import json
import os
import time
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from tidings.events import uuid7
from tidings.http.bearer import CLOCK_SKEW
from tidings.principal import Principal
from tidings.settings import SettingsError
from tidings_auth.settings import SigningSettings


class SigningKey:
    """One Ed25519 key pair, named by its thumbprint (RFC 7638)."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self.private = private
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        required = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
        canonical = json.dumps(required, separators=(",", ":"), sort_keys=True)
        self.kid = _base64url(sha256(canonical.encode()).digest())
        self.public_jwk = {**required, "kid": self.kid, "use": "sig", "alg": "EdDSA"}


class TokenIssuer:
    """Issues access tokens, and knows the keys that verify them.

    Args:
        settings: key file, issuer, audience, lifetime.

    Raises:
        SettingsError: the key file holds no Ed25519 private key.
    """

    def __init__(self, settings: SigningSettings) -> None:
        self._settings = settings
        self._key = SigningKey(_load(settings))
        self._public_key = self._key.private.public_key()
        self.lifetime = settings.lifetime_seconds
        self.longest = timedelta(seconds=self.lifetime + CLOCK_SKEW)
        """How long after it is issued a token may be believed somewhere."""

    def issue(self, principal: Principal) -> str:
        """Return a token that speaks for `principal` for `lifetime` seconds."""
        now = int(time.time())
        claims = {
            "iss": self._settings.issuer,
            "aud": self._settings.audience,
            "sub": str(principal.user_id),
            "sid": str(principal.session_id),
            "name": principal.username,
            "role": principal.role,
            "iat": now,
            "exp": now + self.lifetime,
            "jti": str(uuid7()),
        }
        return jwt.encode(claims, self._key.private, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": self._key.kid})

    def key_set(self) -> dict[str, Any]:
        """Return the public keys as a JWK set (RFC 7517)."""
        return {"keys": [self._key.public_jwk]}

    async def find(self, kid: str) -> Any:
        """Return the public key named `kid`, or `None`: auth verifies with its own keys."""
        return self._public_key if kid == self._key.kid else None


def _load(settings: SigningSettings) -> Ed25519PrivateKey:
    try:
        if settings.generate and not settings.key_file.exists():
            _generate(settings.key_file)
        key = load_pem_private_key(settings.key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(
            f"TIDINGS_SIGNING_KEY_FILE: {settings.key_file} holds no readable Ed25519 private key in PEM"
        )
    return key


def _generate(path: Path) -> None:
    """Write a new private key that only this user may read."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
