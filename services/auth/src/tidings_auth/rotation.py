"""Rotation: a refresh token is good once, and its successor can be had again for a moment (RFC 9700 section 4.14.2).

Two tabs that refresh at the same time, and a client whose answer was lost, come again with a token that is spent. For
30 seconds they are led to its newest successor. A token that comes back later is in the hands of two.

Redis keeps no token: only hashes, and for each token spent of late a salt. A successor is made from the spent token and
its salt, so whoever has both the spent token and our word can make it, and nobody else.
"""

import base64
import binascii
import contextlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, cast
from uuid import UUID

from redis.asyncio import Redis

from tidings.redis.client import answering
from tidings.redis.errors import RedisUnavailable

GRACE = timedelta(seconds=30)
MOST = 100
"""Rotations of one session within the grace; more is no person, and would make the grace unbounded."""
LIST_SECONDS = 0.5
"""How long the list of sessions waits for Redis; then it is answered without it."""

BEGIN = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime, idle = tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('HSET', KEYS[1], 'family', ARGV[1], 'current', ARGV[2], 'expires', string.format('%.0f', now + lifetime))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.min(idle, lifetime)))
"""
"""Stores a session's first token. ROTATE compares its end with Redis's clock, so the end is computed by that clock."""

ROTATE = """
local session = redis.call('HMGET', KEYS[1], 'family', 'current', 'spent', 'reused', 'expires')
local family, presented, successor, salt = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local grace, idle, most = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
if not session[1] then
    redis.call('DEL', KEYS[1])
    return {'lost'}
end
if session[1] ~= family then return {'unknown'} end
if session[4] then return {'reused'} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local recent, salts, count = '', nil, 0
for hash, made, at in string.gmatch(session[3] or '', '(%x+):(%x+):(%d+);') do
    if now - tonumber(at) <= grace then
        recent = recent .. hash .. ':' .. made .. ':' .. at .. ';'
        count = count + 1
        if hash == presented then salts = {} end
        if salts then salts[#salts + 1] = made end
    end
end
if salts then return {'spent', unpack(salts)} end
if session[2] ~= presented then
    redis.call('HSET', KEYS[1], 'reused', '1')
    return {'reused'}
end
if count >= most then return {'often'} end
recent = recent .. presented .. ':' .. salt .. ':' .. string.format('%.0f', now) .. ';'
redis.call('HSET', KEYS[1], 'current', successor, 'spent', recent)
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(1, math.min(idle, session[5] - now))))
return {'rotated', salt}
"""
"""One atomic claim: of many that present the same token at once, one makes the successor and all get it.

The DEL of a missing key changes nothing, but a replica refuses it. So only a primary says that a token is lost: a
replica that is reached in a failover may not have copied it yet.
"""


class UnknownToken(Exception):
    """No session that lives has had this refresh token."""


class TokenLost(Exception):
    """Redis has no refresh token of this session: it lost the token, or the token expired unused."""


class TokenReused(Exception):
    """The refresh token was spent long ago: somebody has a copy of it."""


class RotatedTooOften(Exception):
    """The session refreshes more often than any client needs to."""


@dataclass(frozen=True, repr=False)
class RefreshToken:
    """What a client keeps between two access tokens; opaque to it."""

    session_id: UUID
    family: bytes
    """The same in all tokens of a session: tells a token that was ours once from one that was made up."""
    secret: bytes

    @classmethod
    def new(cls, session_id: UUID) -> "RefreshToken":
        """Return the first token of a session."""
        return cls(session_id, secrets.token_bytes(16), secrets.token_bytes(32))

    @classmethod
    def parse(cls, text: str) -> "RefreshToken":
        """Read a token as `str` writes it.

        Raises:
            UnknownToken: it is none.
        """
        try:
            raw = base64.b64decode(text + "==", altchars=b"-_", validate=True) if len(text) == 86 else b""
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != 64:
            raise UnknownToken("This is no refresh token.")
        return cls(UUID(bytes=raw[:16]), raw[16:32], raw[32:])

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(self.session_id.bytes + self.family + self.secret).decode().rstrip("=")

    @property
    def family_hash(self) -> str:
        """What is kept to know every token of the session by."""
        return _hash(self.family)

    def successor(self, salt: str) -> "RefreshToken":
        """Return the token that follows this one."""
        made = hmac.digest(self.secret, bytes.fromhex(salt), "sha256")
        return RefreshToken(self.session_id, self.family, made)


class Rotation:
    """Keeps the newest refresh token of each session.

    Args:
        redis: a client that never retries: a script that is run twice would spend a token twice.
        idle: how long a session lives without being refreshed.
    """

    def __init__(self, redis: Redis, idle: timedelta) -> None:
        self._redis = redis
        self._idle = idle
        self._begin = redis.register_script(BEGIN)
        self._rotate = redis.register_script(ROTATE)

    async def begin(self, token: RefreshToken, lifetime: timedelta) -> None:
        """Store the first token of a session that lasts for `lifetime`.

        Raises:
            RedisUnavailable: whether the token is stored is not known.
        """
        hashes = [token.family_hash, _hash(token.secret)]
        times = [_milliseconds(lifetime), _milliseconds(self._idle)]
        async with answering():
            await self._begin(keys=[_key(token.session_id)], args=[*hashes, *times])

    async def rotate(self, token: RefreshToken) -> RefreshToken:
        """Spend `token` and return its successor; the newest one, when it was spent within the grace.

        Raises:
            UnknownToken: the session never had this token.
            TokenLost: Redis has no token of the session.
            TokenReused: it was spent before the grace; from now on the session has no good token.
            RotatedTooOften: try again after the grace.
            RedisUnavailable: not known whether it was spent; present it again.
        """
        salt = secrets.token_hex(16)
        arguments: list[Any] = [
            token.family_hash,
            _hash(token.secret),
            _hash(token.successor(salt).secret),
            salt,
            _milliseconds(GRACE),
            _milliseconds(self._idle),
            MOST,
        ]
        async with answering():
            answer = await self._rotate(keys=[_key(token.session_id)], args=arguments)
        outcome, *salts = cast("list[str]", answer)
        match outcome:
            case "rotated" | "spent":
                for made in salts:
                    token = token.successor(made)
                return token
            case "often":
                raise RotatedTooOften("This session is refreshed too often.")
            case "lost":
                raise TokenLost("The session has ended; sign in again.")
            case "reused":
                raise TokenReused("This refresh token was used before.")
            case _:
                raise UnknownToken("The session has ended; sign in again.")

    async def refreshable(self, session_ids: Sequence[UUID]) -> set[UUID]:
        """Return which of these sessions have a refresh token, in one round trip.

        Raises:
            RedisUnavailable: not known.
        """
        async with answering(LIST_SECONDS), self._redis.pipeline(transaction=False) as pipeline:
            for session_id in session_ids:
                pipeline.exists(_key(session_id))
            answers: list[int] = await pipeline.execute()
        return {session_id for session_id, exists in zip(session_ids, answers, strict=True) if exists}

    async def forget(self, session_ids: Sequence[UUID]) -> None:
        """Forget ended sessions; what is not reached forgets itself in time, and the database has the last word."""
        if session_ids:
            with contextlib.suppress(RedisUnavailable):
                async with answering():
                    await self._redis.delete(*map(_key, session_ids))


def _key(session_id: UUID) -> str:
    return f"tidings:session:{session_id}"


def _hash(secret: bytes) -> str:
    return sha256(secret).hexdigest()


def _milliseconds(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)
