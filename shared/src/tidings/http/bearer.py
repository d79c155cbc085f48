"""Bearer tokens: who is calling, by an access token that this service verifies itself (RFC 9068, RFC 8725)."""

import asyncio
import contextlib
import logging
import time
from typing import Annotated, Any, Protocol
from uuid import UUID

import httpx
import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from jwt.algorithms import OKPAlgorithm
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tidings.principal import Principal, Role

logger = logging.getLogger(__name__)

ALGORITHM = "EdDSA"
MEDIA_TYPE = "at+jwt"
MAX_TOKEN_LENGTH = 4096
CLOCK_SKEW = 5
"""Seconds by which the clocks of two hosts may differ."""
REFETCH_SECONDS = 30.0
RETRY_SECONDS = 1.0
"""How long a failed first fetch is remembered."""
FETCH_TIMEOUT = 2.0


class NotAuthenticated(Exception):
    """The caller sent no token, or one that is not believed; the message says which, and nothing of the token."""


class KeysUnavailable(Exception):
    """Auth's keys could not be fetched, so no token can be checked."""


class Claims(BaseModel):
    """The claims of an access token; each is required and of its exact type."""

    model_config = ConfigDict(strict=True, extra="ignore")

    sub: Annotated[str, Field(max_length=36)]
    sid: Annotated[str, Field(max_length=36)]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    role: Role
    exp: Annotated[int, Field(ge=0, lt=2**40)]
    iat: Annotated[int, Field(ge=0, lt=2**40)]
    jti: Annotated[str, Field(max_length=64)]


class Keys(Protocol):
    """Where verification keys come from."""

    async def find(self, kid: str) -> Any:
        """Return the public key named `kid`, or `None`; raise `KeysUnavailable` when that cannot be known."""


class EndedSessions(Protocol):
    """Which sessions have ended before their tokens expired."""

    def is_ended(self, session_id: UUID) -> bool:
        """Whether no token of this session is to be believed any more; answers at once."""
        ...


class RemoteKeys:
    """Auth's published keys (RFC 7517), cached; an unknown `kid` asks again at most once in 30 seconds.

    Args:
        url: of the key set.
        client: makes the call.
    """

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url
        self._client = client
        self._keys: dict[str, Any] = {}
        self._asked = -REFETCH_SECONDS
        self._failed = False
        self._lock = asyncio.Lock()

    async def find(self, kid: str) -> Any:
        if kid not in self._keys:
            async with self._lock:
                await self._refresh_unless(kid in self._keys)
        return self._keys.get(kid)

    async def check(self) -> None:
        """Raise when no key is known."""
        async with self._lock:
            await self._refresh_unless(bool(self._keys))

    async def _refresh_unless(self, known: bool) -> None:
        """Fetch the keys, but not more often than callers may make us; without any key, say so at once meanwhile."""
        wait = REFETCH_SECONDS if self._keys else RETRY_SECONDS
        if known or time.monotonic() - self._asked < wait:
            if not known and self._failed:
                raise KeysUnavailable(f"no keys from {self._url}")
            return
        self._asked = time.monotonic()
        self._failed = True
        try:
            answer = await self._client.get(self._url, timeout=FETCH_TIMEOUT)
            answer.raise_for_status()
            self._keys = parse_key_set(answer.json()) or self._keys
        except (httpx.HTTPError, ValueError) as error:
            raise KeysUnavailable(f"no keys from {self._url}: {error or type(error).__name__}") from error
        if not self._keys:
            raise KeysUnavailable(f"no keys from {self._url}: it names none that can be used")
        self._failed = False


def parse_key_set(document: Any) -> dict[str, Any]:
    """Return the Ed25519 public keys of a JWK set by their `kid`; whatever else is in it is passed over."""
    entries = document.get("keys") if isinstance(document, dict) else None
    keys: dict[str, Any] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("kid"), str) and _is_public_ed25519(entry):
            with contextlib.suppress(jwt.PyJWTError, ValueError, TypeError):
                keys[entry["kid"]] = OKPAlgorithm.from_jwk(entry)
    return keys


def _is_public_ed25519(entry: dict[str, Any]) -> bool:
    return entry.get("kty") == "OKP" and entry.get("crv") == "Ed25519" and "d" not in entry


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
        principal = self._decoded(token, key)
        if self._ended.is_ended(principal.session_id):
            raise NotAuthenticated("The session has ended; sign in again.")
        return principal

    def _decoded(self, token: str, key: Any) -> Principal:
        try:
            payload = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                leeway=CLOCK_SKEW,
                options={"require": ["iss", "aud", "sub", "exp", "iat", "jti"], "strict_aud": True},
            )
            claims = Claims.model_validate(payload)
            return Principal(UUID(claims.sub), claims.name, claims.role, UUID(claims.sid))
        except jwt.ExpiredSignatureError:
            raise NotAuthenticated("The access token has expired.") from None
        except (jwt.PyJWTError, ValidationError, ValueError, TypeError, OverflowError, RecursionError):
            raise NotAuthenticated("The access token is not valid.") from None


def _key_id(token: str) -> str:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise NotAuthenticated("The access token is malformed.") from None
    typ, kid = header.get("typ"), header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(typ, str) or typ.lower() != MEDIA_TYPE:
        raise NotAuthenticated("The token is no access token of this service.")
    if not isinstance(kid, str) or "crit" in header:
        raise NotAuthenticated("The access token names no key.")
    return kid


_scheme = HTTPBearer(
    bearerFormat="JWT",
    scheme_name="access token",
    description="The `access_token` that `POST /api/login` answers.",
    auto_error=False,
)


async def authenticate(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]
) -> Principal:
    """Return the caller; every route that is not public depends on this.

    Raises:
        NotAuthenticated: no token, or one that is not believed.
    """
    if credentials is None:
        raise NotAuthenticated("Sign in and send the access token as Authorization: Bearer <token>.")
    principal = await request.state.verifier.verify(credentials.credentials)
    request.scope["tidings.principal"] = principal
    return principal  # type: ignore[no-any-return]  # the state is untyped


async def authenticate_if_given(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]
) -> Principal | None:
    """Return the caller, or `None` when the call carries no access token.

    Raises:
        NotAuthenticated: the token is not believed.
    """
    return await authenticate(request, credentials) if credentials else None


CurrentUser = Annotated[Principal, Depends(authenticate)]
CallerIfGiven = Annotated[Principal | None, Depends(authenticate_if_given)]
