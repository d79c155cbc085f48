"""Rotation: of many clients that come with one refresh token each gets the same successor; a late one is a thief."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from support.servers import RealServers
from tidings.events import uuid7
from tidings.redis.client import connect
from tidings.redis.errors import RedisUnavailable
from tidings.redis.settings import RedisSettings
from tidings_auth import rotation
from tidings_auth.rotation import (
    RefreshToken,
    RotatedTooOften,
    Rotation,
    TokenLost,
    TokenReused,
    UnknownToken,
)
from tidings_local.backends import Backends

IDLE = timedelta(days=14)


@pytest.fixture
async def redis(backends: Backends) -> AsyncIterator[Redis]:
    redis = connect(RedisSettings(url=SecretStr(backends.redis)))
    yield redis
    await redis.aclose()


@pytest.fixture
def kept(redis: Redis) -> Rotation:
    return Rotation(redis, IDLE)


async def begun(kept: Rotation, days: float = 30) -> RefreshToken:
    token = RefreshToken.new(uuid7())
    await kept.begin(token, timedelta(days=days))
    return token


async def test_a_token_gives_the_next_and_that_the_next(kept: Rotation) -> None:
    first = await begun(kept)
    second = await kept.rotate(first)
    third = await kept.rotate(second)
    assert len({str(first), str(second), str(third)}) == 3


async def test_fifty_at_once_get_one_successor(kept: Rotation) -> None:
    first = await begun(kept)
    assert len({str(token) for token in await asyncio.gather(*(kept.rotate(first) for _ in range(50)))}) == 1


async def test_who_comes_late_within_the_grace_is_led_to_the_newest(kept: Rotation) -> None:
    first = await begun(kept)
    second = await kept.rotate(first)
    third = await kept.rotate(second)
    assert await kept.rotate(first) == third
    assert await kept.rotate(second) == third
    assert await kept.rotate(third) not in (first, second, third)


@pytest.mark.parametrize("generation", [0, 1])
async def test_a_token_that_comes_back_after_the_grace_ends_the_family(
    kept: Rotation, monkeypatch: pytest.MonkeyPatch, generation: int
) -> None:
    tokens = [await begun(kept)]
    for _ in range(2):
        tokens.append(await kept.rotate(tokens[-1]))
    monkeypatch.setattr(rotation, "GRACE", timedelta(milliseconds=-1))
    with pytest.raises(TokenReused):
        await kept.rotate(tokens[generation])
    for token in tokens:  # the newest too: nobody knows whose it is
        with pytest.raises(TokenReused):
            await kept.rotate(token)


async def test_the_newest_token_is_good_after_the_grace(kept: Rotation, monkeypatch: pytest.MonkeyPatch) -> None:
    second = await kept.rotate(await begun(kept))
    monkeypatch.setattr(rotation, "GRACE", timedelta(milliseconds=-1))
    await kept.rotate(second)


async def test_what_was_never_a_token_of_the_session_does_it_no_harm(kept: Rotation) -> None:
    token = await begun(kept)
    made_up = RefreshToken.new(token.session_id)
    with pytest.raises(UnknownToken):
        await kept.rotate(made_up)
    await kept.rotate(token)


async def test_a_forgotten_session_has_no_good_token(kept: Rotation) -> None:
    token, other = await begun(kept), await begun(kept)
    await kept.forget([token.session_id])
    with pytest.raises(TokenLost):
        await kept.rotate(token)
    assert await kept.refreshable([token.session_id, other.session_id]) == {other.session_id}
    assert await kept.refreshable([]) == set()


async def test_a_session_that_refreshes_without_end_is_slowed_and_not_ended(
    kept: Rotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "MOST", 5)
    first = token = await begun(kept)
    for _ in range(5):
        token = await kept.rotate(token)
    with pytest.raises(RotatedTooOften):
        await kept.rotate(token)
    assert await kept.rotate(first) == token
    monkeypatch.setattr(rotation, "GRACE", timedelta(milliseconds=-1))
    await kept.rotate(token)


async def test_a_session_lives_as_long_as_it_is_used_but_not_beyond_its_end(kept: Rotation, redis: Redis) -> None:
    used = await begun(kept)
    await redis.pexpire(f"tidings:session:{used.session_id}", 1_000)
    await kept.rotate(used)
    assert await redis.pttl(f"tidings:session:{used.session_id}") == pytest.approx(IDLE.total_seconds() * 1000, abs=5e3)
    old = await begun(kept, days=1)
    await kept.rotate(old)
    assert await redis.pttl(f"tidings:session:{old.session_id}") == pytest.approx(86_400_000, abs=5_000)


async def test_redis_holds_no_token(kept: Rotation, redis: Redis) -> None:
    first = await begun(kept)
    second = await kept.rotate(first)
    stored = repr(await redis.hgetall(f"tidings:session:{first.session_id}"))
    assert "spent" in stored
    for token in (first, second):
        for secret in (str(token), token.secret.hex(), token.family.hex(), repr(token.secret)):
            assert secret not in stored


@pytest.mark.real
async def test_a_refresh_that_redis_answered_too_late_can_be_made_again(servers: RealServers) -> None:
    """Redis stands still for two seconds: the call is given up, and done all the same when Redis goes on."""
    redis = connect(RedisSettings(url=SecretStr(servers.redis.url)))
    kept = Rotation(redis, IDLE)
    first = await begun(kept)
    servers.redis.pause()
    try:
        with pytest.raises(RedisUnavailable):
            await kept.rotate(first)
        await asyncio.sleep(1)
    finally:
        servers.redis.resume()
    second = await kept.rotate(first)
    assert second != first
    assert await kept.rotate(first) == second
    await kept.rotate(second)
    await redis.aclose()
