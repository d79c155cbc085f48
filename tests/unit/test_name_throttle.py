"""The name throttle on an in-memory Redis, with a clock that the test moves: which answers count, and who waits."""

from datetime import timedelta

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from tidings.redis.client import connect
from tidings.redis.settings import RedisSettings
from tidings_auth.name_throttle import FREE, REFILL, NameThrottle, TooManyTakenNames
from unit.fakes import Clock

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
KEY = "a key of the tests"


@pytest.fixture
def throttle(redis: Redis) -> NameThrottle:
    return NameThrottle(redis, KEY)


async def wait_of(throttle: NameThrottle, address: str = HOME) -> int:
    """Return how many seconds the address must wait; 0 when it may register now."""
    try:
        await throttle.admit(address)
    except TooManyTakenNames as error:
        return error.retry_after
    return 0


async def count(throttle: NameThrottle, times: int, address: str = HOME) -> None:
    for _ in range(times):
        await throttle.count(address)


async def test_twenty_taken_names_are_free_and_then_one_each_minute(throttle: NameThrottle, clock: Clock) -> None:
    for _ in range(20):
        assert await wait_of(throttle) == 0
        await count(throttle, 1)
    for _ in range(3):
        assert await wait_of(throttle) == 60
        clock.now += 59.5
        assert await wait_of(throttle) == 1
        clock.now += 0.5
        assert await wait_of(throttle) == 0
        await count(throttle, 1)


async def test_registering_free_names_is_never_throttled(throttle: NameThrottle, redis: Redis) -> None:
    assert {await wait_of(throttle) for _ in range(100)} == {0}
    assert await redis.keys("*") == []


async def test_answers_given_at_once_are_all_waited_for_but_no_longer_than_21_minutes(
    throttle: NameThrottle, clock: Clock
) -> None:
    """Requests that were admitted together are counted one after another."""
    await count(throttle, 25)
    assert await wait_of(throttle) == 6 * 60
    await count(throttle, 1000)
    assert await wait_of(throttle) == 21 * 60
    clock.now += 21 * 60
    assert await wait_of(throttle) == 0


async def test_answers_are_forgotten_one_by_one_and_nothing_is_left(
    throttle: NameThrottle, clock: Clock, redis: Redis
) -> None:
    await count(throttle, 20)
    clock.now += 10 * 60
    await count(throttle, 10)
    assert await wait_of(throttle) == 60
    clock.now += 20 * 60 + 1
    assert await redis.keys("*") == []


async def test_each_network_waits_for_itself(throttle: NameThrottle) -> None:
    await count(throttle, 20, "2001:db8::1")
    assert await wait_of(throttle, "2001:db8::ffff:2") == 60
    assert await wait_of(throttle, "2001:db8:0:1::1") == 0
    assert await wait_of(throttle, ELSEWHERE) == 0


async def test_redis_sees_no_address(throttle: NameThrottle, redis: Redis) -> None:
    await count(throttle, 1)
    await count(NameThrottle(redis, "another key"), 1)
    keys = await redis.keys("*")
    assert len(keys) == 2, "another key of the hash makes another name"
    assert HOME not in str(keys)


async def test_the_figures_can_be_others(redis: Redis, clock: Clock) -> None:
    throttle = NameThrottle(redis, KEY, free=2, refill=timedelta(seconds=3))
    await count(throttle, 2)
    assert await wait_of(throttle) == 3


async def test_without_redis_nobody_waits_for_the_throttle(caplog: pytest.LogCaptureFixture) -> None:
    away = connect(RedisSettings(url=SecretStr("redis://127.0.0.1:1/0")))
    throttle = NameThrottle(away, KEY)
    await throttle.admit(HOME)
    await throttle.count(HOME)
    await away.aclose()
    assert "not throttled" in caplog.text


def test_the_figures_are_as_they_are_documented() -> None:
    assert FREE == 20
    assert timedelta(minutes=1) == REFILL
