"""Bearer tokens: who is calling, by an access token that this service verifies itself (RFC 9068, RFC 8725).

docs/security.md lists which tokens are accepted, and why no others.
"""

import asyncio
import time
from typing import Annotated, Literal, Protocol
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tidings.http import compact
from tidings.http.problems import raises
from tidings.http.remote_keys import KeysUnavailable
from tidings.principal import Principal, Role
from tidings.redis.revocations import LONGEST_LIFETIME

MAX_TOKEN_LENGTH = 4096
VERIFY_SECONDS = 0.5
"""How long health waits to learn who asks."""
CLOCK_SKEW = 5
"""Seconds by which the clocks of two hosts may differ."""


class NotAuthenticated(Exception):
    """The caller sent no token, or one that is not believed; the message says which, and nothing of the token."""


class AmbiguousCredentials(Exception):
    """The call carries credentials twice, and each could be somebody else's; the message says which."""


class Header(BaseModel):
    """What an access token may say before it is believed: these members and no others."""

    model_config = ConfigDict(strict=True, extra="forbid")

    alg: Literal["EdDSA"]
    typ: Annotated[str, Field(pattern="(?i)^(application/)?at[+]jwt$")]
    kid: Annotated[str, Field(min_length=1, max_length=64)]


Id = Annotated[str, Field(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Seconds = Annotated[int, Field(ge=0, lt=2**40)]


class Claims(BaseModel):
    """The claims of an access token, each of its exact type; all but `nbf` are required."""

    model_config = ConfigDict(strict=True, extra="ignore")

    iss: str
    aud: str
    sub: Id
    sid: Id
    name: Annotated[str, Field(min_length=1, max_length=64)]
    role: Role
    exp: Seconds
    iat: Seconds
    nbf: Seconds = 0
    jti: Annotated[str, Field(min_length=1, max_length=64)]


class Keys(Protocol):
    """Where verification keys come from."""

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the public key named `kid`, or `None`; raise `KeysUnavailable` when that cannot be known."""


class EndedSessions(Protocol):
    """Which sessions have ended before their tokens expired."""

    def is_ended(self, session_id: UUID) -> bool:
        """Whether no token of this session is to be believed any more; answers at once."""
        ...


class TokenVerifier:
    """Turns an access token into a principal.

    Args:
        keys: where verification keys come from.
        issuer: the `iss` that is believed.
        audience: the `aud` that is believed.
        ended: the sessions whose tokens are not believed.
    """

    def __init__(self, keys: Keys, issuer: str, audience: str, ended: EndedSessions) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._ended = ended

    async def verify(self, token: str) -> Principal:
        """Return who `token` speaks for.

        Raises:
            NotAuthenticated: it is malformed, not signed by a known key, expired, for somebody else, or of a session
                that has ended.
            KeysUnavailable: auth's keys cannot be fetched.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise NotAuthenticated("The access token is too long.")
        key = await self._keys.find(_key_id(token))
        if key is None:
            raise NotAuthenticated("The access token is signed by an unknown key.")
        claims = _signed_claims(token, key)
        self._require_for_us_and_now(claims)
        principal = Principal(UUID(claims.sub), claims.name, claims.role, UUID(claims.sid))
        if self._ended.is_ended(principal.session_id):
            raise NotAuthenticated("The session has ended; sign in again.")
        return principal

    def _require_for_us_and_now(self, claims: Claims) -> None:
        if (claims.iss, claims.aud) != (self._issuer, self._audience):
            raise NotAuthenticated("The access token is for somebody else.")
        now = time.time()
        if claims.exp + CLOCK_SKEW <= now:
            raise NotAuthenticated("The access token has expired.")
        if max(claims.iat, claims.nbf) - CLOCK_SKEW > now or claims.exp - claims.iat > LONGEST_LIFETIME:
            raise NotAuthenticated("The access token is not valid.")


def _key_id(token: str) -> str:
    try:
        header, _, _ = compact.parts(token)
        return Header.model_validate(compact.parsed(compact.decoded(header))).kid
    except ValidationError:
        raise NotAuthenticated("The token is no access token of this service.") from None
    except ValueError:
        raise NotAuthenticated("The access token is malformed.") from None


def _signed_claims(token: str, key: Ed25519PublicKey) -> Claims:
    """Return what is claimed; nothing of it is read before the signature is verified."""
    header, payload, signature = compact.parts(token)
    try:
        key.verify(compact.decoded(signature), f"{header}.{payload}".encode())
        return Claims.model_validate(compact.parsed(compact.decoded(payload)))
    except (InvalidSignature, ValueError):  # a ValidationError is a ValueError
        raise NotAuthenticated("The access token is not valid.") from None


_scheme = HTTPBearer(
    bearerFormat="JWT",
    scheme_name="access-token",
    description="The `access_token` that `POST /api/login` answers.",
    auto_error=False,
)


Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]


@raises(NotAuthenticated, KeysUnavailable, AmbiguousCredentials)
async def authenticate(request: Request, credentials: Credentials) -> Principal:
    """Return the caller; every route that is not public depends on this.

    Raises:
        NotAuthenticated: no token, or one that is not believed.
        AmbiguousCredentials: more than one `Authorization` header (RFC 6750 section 3.1).
    """
    if len(request.headers.getlist("authorization")) > 1:
        raise AmbiguousCredentials("The call has more than one Authorization header; send one.")
    if credentials is None:
        raise NotAuthenticated("Sign in and send the access token as Authorization: Bearer <token>.")
    principal = await request.state.verifier.verify(credentials.credentials)
    request.scope["tidings.principal"] = principal
    return principal  # type: ignore[no-any-return]  # the state is untyped


@raises(KeysUnavailable, AmbiguousCredentials)
async def authenticate_if_possible(request: Request, credentials: Credentials) -> Principal | None:
    """Return the caller, or `None` when the call carries no access token that is believed."""
    try:
        return await authenticate(request, credentials)
    except NotAuthenticated:
        return None


async def is_admin(request: Request, credentials: Credentials) -> bool:
    """Return whether an admin calls; while the token cannot be verified, or not soon, nobody is one."""
    try:
        async with asyncio.timeout(VERIFY_SECONDS):
            caller = await authenticate_if_possible(request, credentials)
    except (KeysUnavailable, AmbiguousCredentials, TimeoutError):
        return False
    return caller is not None and caller.is_admin


CurrentUser = Annotated[Principal, Depends(authenticate)]
CallerIfBelieved = Annotated[Principal | None, Depends(authenticate_if_possible)]
