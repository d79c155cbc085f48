"""The keyring: the Ed25519 keys that sign access tokens, as a JWK set (RFC 7517, RFC 8037).

Each key has, besides what the RFCs say, two times in seconds since 1970: `created`, and `active_from`, from when it
signs; `null` for the next one, which verifiers are to know before it does.
"""

import base64
import json
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tidings.text_file import decode

Time = Annotated[int, Field(ge=0, lt=2**40)]


class _Entry(BaseModel):
    """One key as the file has it."""

    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    d: str
    kid: str | None = None
    created: Time
    active_from: Time | None


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)

    keys: Annotated[list[_Entry], Field(min_length=1)]


@dataclass(frozen=True, eq=False)
class SigningKey:
    """One key pair and its times."""

    private: Ed25519PrivateKey
    created: int
    active_from: int | None

    @cached_property
    def public(self) -> Ed25519PublicKey:
        """What verifies."""
        return self.private.public_key()

    @cached_property
    def public_jwk(self) -> dict[str, str]:
        """What is published (RFC 8037)."""
        required = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(self.public.public_bytes_raw())}
        canonical = json.dumps(required, separators=(",", ":"), sort_keys=True)
        return {**required, "kid": _base64url(sha256(canonical.encode()).digest()), "use": "sig", "alg": "EdDSA"}

    @property
    def kid(self) -> str:
        """Its name, the thumbprint of RFC 7638."""
        return self.public_jwk["kid"]


@dataclass(frozen=True)
class Keyring:
    """The keys of one file; the order in which they sign is that of `active_from`, those without one last."""

    keys: tuple[SigningKey, ...]

    def __post_init__(self) -> None:
        in_order = sorted(self.keys, key=lambda key: (key.active_from is None, key.active_from or 0, key.created))
        object.__setattr__(self, "keys", tuple(in_order))

    def current(self, now: int) -> SigningKey:
        """Return the key that signs: the latest whose time has come; the first when a clock was set back."""
        active = [key for key in self.keys if not _waits(key, now)]
        return active[-1] if active else self.keys[0]

    def is_active(self, now: int) -> bool:
        """Tell whether some key's time has come."""
        return not _waits(self.keys[0], now)

    def next(self, now: int) -> SigningKey | None:
        """Return the key that will sign after the current one."""
        return next((key for key in self.keys if _waits(key, now)), None)

    def superseded_at(self, key: SigningKey, now: int) -> int | None:
        """Return since when a later key signs in place of `key`, if one does."""
        later = self.keys[self.keys.index(key) + 1 :]
        return later[0].active_from if later and not _waits(later[0], now) else None

    def known(self, now: int, keep_seconds: int) -> "Keyring":
        """Return all but the keys that were superseded longer ago than that."""
        ends = {key: self.superseded_at(key, now) for key in self.keys}
        return Keyring(tuple(key for key, end in ends.items() if end is None or end + keep_seconds > now))

    def with_key(self, key: SigningKey) -> "Keyring":
        """Return a keyring that has `key`, too."""
        return Keyring((*self.keys, key))

    def promoted(self, key: SigningKey, now: int) -> "Keyring":
        """Return a keyring in which `key` signs from now on."""
        others = tuple(other for other in self.keys if other is not key)
        return Keyring((*others, replace(key, active_from=now)))

    def document(self) -> str:
        """Return the file's content, private keys included."""
        return json.dumps({"keys": [_entry(key) for key in self.keys]}, indent=2) + "\n"


def new_key(now: int, active_from: int | None = None) -> SigningKey:
    """Return a key that nobody had before."""
    return SigningKey(Ed25519PrivateKey.generate(), now, active_from)


def new_keyring(now: int) -> Keyring:
    """Return a key that signs at once, and the next one."""
    return Keyring((new_key(now, active_from=now), new_key(now)))


def read_keyring(document: bytes) -> Keyring:
    """Return the keyring of a file.

    Raises:
        ValueError: saying what is wrong with it, and nothing of what is secret in it.
    """
    try:
        entries = _Document.model_validate_json(decode(document)).keys
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}") from None
    keys = tuple(_key(number, entry) for number, entry in enumerate(entries))
    if len({key.kid for key in keys}) != len(keys):
        raise ValueError("one key is in it twice")
    return Keyring(keys)


def _key(number: int, entry: _Entry) -> SigningKey:
    try:
        private = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(entry.d + "=" * (-len(entry.d) % 4)))
    except ValueError:
        raise ValueError(f"keys.{number}.d: no Ed25519 private key") from None
    key = SigningKey(private, entry.created, entry.active_from)
    if key.public_jwk["x"] != entry.x:
        raise ValueError(f"keys.{number}.x: not the public key of its private one")
    if entry.kid not in (None, key.kid):
        raise ValueError(f"keys.{number}.kid: not its thumbprint, {key.kid}")
    return key


def _entry(key: SigningKey) -> dict[str, Any]:
    secret = {"d": _base64url(key.private.private_bytes_raw())}
    return {**key.public_jwk, **secret, "created": key.created, "active_from": key.active_from}


def _waits(key: SigningKey, now: int) -> bool:
    return key.active_from is None or key.active_from > now


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
