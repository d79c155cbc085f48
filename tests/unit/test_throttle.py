"""The login throttle on an in-memory Redis, with a clock that the test moves: what is counted, and who waits."""

import asyncio
import json
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from tidings.redis.client import connect
from tidings.redis.errors import RedisUnavailable
from tidings.redis.settings import RedisSettings
from tidings_auth.throttle import BUCKETS, HOLD_AT_MOST, HOLD_SECONDS, Throttle, TooManyAttempts, network
from unit.fakes import Clock

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
KEY = "a key of the tests"


@pytest.fixture
def throttle(redis: Redis) -> Throttle:
    return Throttle(redis, KEY)


async def wait_of(throttle: Throttle, account: str, address: str) -> int:
    """How long an attempt that fails would have to wait; it is counted when that is 0."""
    try:
        await throttle.admit(account, address)
    except TooManyAttempts as error:
        return error.retry_after
    return 0


async def fail(throttle: Throttle, account: str, address: str, times: int) -> None:
    for _ in range(times):
        await throttle.admit(account, address)


async def test_five_attempts_are_free_and_then_each_waits_twice_as_long_up_to_a_quarter_of_an_hour(
    throttle: Throttle, clock: Clock
) -> None:
    waits = []
    for _ in range(18):
        waits.append(wait := await wait_of(throttle, "mina", HOME))
        if wait:
            clock.now += wait - 0.001
            assert await wait_of(throttle, "mina", HOME) == 1  # a refused attempt is not counted
            clock.now += 0.001
            assert await wait_of(throttle, "mina", HOME) == 0
    assert waits == [0] * 5 + [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


async def test_an_address_has_thirty_free_attempts_over_all_accounts_and_then_waits_up_to_a_minute(
    throttle: Throttle, clock: Clock
) -> None:
    waits = []
    for number in range(39):
        waits.append(wait := await wait_of(throttle, f"account-{number}", HOME))
        if wait:
            clock.now += wait
            assert await wait_of(throttle, f"account-{number}", HOME) == 0
    assert waits == [0] * 30 + [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert await wait_of(throttle, "account-0", ELSEWHERE) == 0


async def test_an_account_has_a_hundred_free_attempts_from_unknown_addresses_and_then_waits_up_to_a_minute(
    throttle: Throttle, clock: Clock
) -> None:
    await (await throttle.admit("mina", HOME)).succeeded()
    waits = []
    for number in range(109):
        waits.append(wait := await wait_of(throttle, "mina", f"10.0.0.{number}"))
        if wait:
            clock.now += wait
            assert await wait_of(throttle, "mina", f"10.0.0.{number}") == 0
    assert waits == [0] * 100 + [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert await wait_of(throttle, "mina", "10.0.1.1") == 60
    assert await wait_of(throttle, "mina", HOME) == 0
    assert await wait_of(throttle, "someone else", "10.0.1.1") == 0


async def test_attempts_are_forgotten_one_by_one_and_after_a_while_nothing_is_left(
    throttle: Throttle, clock: Clock, redis: Redis
) -> None:
    await fail(throttle, "mina", HOME, 5)
    clock.now += 900
    await fail(throttle, "mina", HOME, 1)
    assert await wait_of(throttle, "mina", HOME) == 1
    clock.now += 5 * 900 + 1
    assert await redis.keys("*") == []
    await fail(throttle, "mina", HOME, 5)


async def test_a_success_clears_the_account_and_gives_the_address_only_its_own_attempt_back(
    throttle: Throttle, clock: Clock
) -> None:
    for number in range(24):
        await fail(throttle, f"account-{number}", HOME, 1)
    await fail(throttle, "mina", HOME, 4)
    for _ in range(3):
        await (await throttle.admit("mina", HOME)).succeeded()
    await fail(throttle, "mina", HOME, 2)
    assert await wait_of(throttle, "mina", HOME) == 1  # 24 + 4 + 2 of the address's 30
    clock.now += 1
    with pytest.raises(TooManyAttempts) as refused:
        await fail(throttle, "another", HOME, 2)
    assert refused.value.bucket.name == "address"


async def test_an_address_is_known_for_thirty_days_after_the_last_success(throttle: Throttle, clock: Clock) -> None:
    day = 86_400
    for _ in range(2):
        await (await throttle.admit("mina", HOME)).succeeded()
        clock.now += 29 * day
    for number in range(100):
        await fail(throttle, "mina", f"10.0.0.{number}", 1)
    assert await wait_of(throttle, "mina", HOME) == 0
    clock.now += 2 * day
    for number in range(100):
        await fail(throttle, "mina", f"10.0.0.{number}", 1)
    assert await wait_of(throttle, "mina", HOME) == 1


async def test_an_attempt_that_nobody_looked_at_is_taken_back_from_every_bucket(
    throttle: Throttle, redis: Redis
) -> None:
    for _ in range(200):
        await (await throttle.admit("mina", HOME)).refund()
    assert await wait_of(throttle, "mina", HOME) == 0
    attempts = [await throttle.admit("mina", HOME) for _ in range(4)]
    assert await wait_of(throttle, "mina", HOME) == 1
    for attempt in attempts:
        await attempt.refund()
    await fail(throttle, "mina", HOME, 4)
    assert await wait_of(throttle, "mina", HOME) == 1


async def test_of_many_attempts_at_once_only_the_free_ones_are_admitted(throttle: Throttle) -> None:
    waits = await asyncio.gather(*(wait_of(throttle, "mina", HOME) for _ in range(64)))
    assert sorted(waits) == [0] * 5 + [1] * 59


async def test_an_account_that_is_forgotten_leaves_nothing_but_the_counts_of_addresses(
    throttle: Throttle, redis: Redis, clock: Clock
) -> None:
    await (await throttle.admit("mina", "10.0.1.1")).succeeded()
    for number in range(40):
        await fail(throttle, "mina", f"10.0.0.{number}", 2)
    await throttle.forget("mina")
    assert len(await redis.keys("*")) == 40
    clock.now += 121
    assert await redis.keys("*") == []
    await fail(throttle, "mina", "10.0.0.1", 5)


async def test_redis_sees_neither_names_nor_addresses_and_other_keys_make_other_hashes(redis: Redis) -> None:
    for key in (KEY, "another key of the tests"):
        attempt = await Throttle(redis, key).admit("mina", HOME)
        await attempt.succeeded()
        await fail(Throttle(redis, key), "mina", HOME, 1)
    names: list[Any] = await redis.keys("*")
    assert len(names) == 2 * 4
    kept = [await redis.zrange(name, 0, -1) for name in names if name.endswith((":known", ":tried"))]
    text = json.dumps([names, kept])
    assert "mina" not in text
    assert HOME not in text


async def test_everything_that_is_kept_ends_by_itself(throttle: Throttle, redis: Redis) -> None:
    await (await throttle.admit("mina", HOME)).succeeded()
    await fail(throttle, "mina", ELSEWHERE, 3)
    for name in await redis.keys("*"):
        assert 0 < await redis.ttl(name) <= 30 * 86_400


async def test_without_redis_no_attempt_is_admitted_and_what_follows_one_fails_nothing() -> None:
    away = connect(RedisSettings(url=SecretStr("redis://127.0.0.1:1/0")))
    throttle = Throttle(away, KEY)
    with pytest.raises(RedisUnavailable):
        await throttle.admit("mina", HOME)
    with pytest.raises(RedisUnavailable):
        await throttle.forget("mina")
    await away.aclose()


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff::2", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("a socket", "a socket"),
    ],
)
def test_what_is_one_client(address: str, client: str) -> None:
    assert network(address) == client


async def test_addresses_of_one_ipv6_network_are_one_client(throttle: Throttle) -> None:
    waits = [await wait_of(throttle, "mina", f"2001:db8::{number}") for number in range(1, 7)]
    assert waits == [0] * 5 + [1]
    assert await wait_of(throttle, "mina", "2001:db8:0:1::1") == 0


async def test_refusals_are_held_back_and_too_many_of_them_are_not(throttle: Throttle) -> None:
    held = [asyncio.create_task(throttle.hold_back()) for _ in range(HOLD_AT_MOST)]
    await asyncio.sleep(0)
    await asyncio.wait_for(throttle.hold_back(), HOLD_SECONDS / 2)
    assert not any(task.done() for task in held)
    await asyncio.gather(*held)
    again = asyncio.create_task(throttle.hold_back())
    await asyncio.sleep(0)
    assert not again.done()
    await again


def test_the_buckets_are_as_they_are_documented() -> None:
    assert [(it.name, it.free, it.longest) for it in BUCKETS] == [
        ("account-and-address", 5, 900),
        ("address", 30, 60),
        ("account", 100, 60),
    ]
