"""Revocations: what a reader of the stream knows, when, for how long, and what it cannot be brought to believe."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from pydantic import SecretStr

from tidings import composition
from tidings.composition import Parts
from tidings.redis import revocations
from tidings.redis.client import DECODING, connect
from tidings.redis.errors import RedisUnavailable
from tidings.redis.revocations import (
    LONGEST_LIFETIME,
    STREAM,
    Announcements,
    Revocations,
    RevocationsStale,
)
from tidings.redis.settings import RedisSettings
from tidings.telemetry.setup import Telemetry

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))
SECONDS = 5


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(revocations, "BLOCK_MS", 50)


class Counting(FakeAsyncRedis):
    """Counts the reads of the stream."""

    reads: ClassVar[list[int | None]] = []

    async def xread(self, *args: Any, **kwargs: Any) -> Any:
        self.reads.append(kwargs["block"])
        return await super().xread(*args, **kwargs)


@pytest.fixture
def server() -> FakeServer:
    Counting.reads.clear()
    return FakeServer()


@pytest.fixture
async def redis(server: FakeServer) -> AsyncIterator[Any]:
    client = Counting(server=server, **DECODING)
    yield client
    await client.aclose()


@asynccontextmanager
async def reading(reader: Revocations) -> AsyncIterator[Revocations]:
    """Run a reader until the block ends, from its first word on."""
    task = asyncio.create_task(reader.run())
    try:
        await until(lambda: reader.as_of is not None)
        yield reader
    finally:
        await reader.stop(task, 1)
        assert task.done()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110  # most of what is waited for sets no event
            await asyncio.sleep(0.005)


async def news(reader: Revocations) -> None:
    """Wait for a word from Redis that is later than this moment."""
    asked = datetime.now(UTC)
    await until(lambda: reader.as_of is not None and reader.as_of > asked)


def soon(seconds: float = 300) -> float:
    return time.time() + seconds


async def put(redis: Any, session_id: object, until: object, entry: str = "*") -> None:
    await redis.xadd(STREAM, {"sid": str(session_id), "until": str(until)}, id=entry)


def clock(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    later = time.time() + ahead
    monkeypatch.setattr(time, "time", lambda: later)


async def test_what_ended_before_the_reader_started_and_while_it_runs_is_known(redis: Any) -> None:
    await Announcements(redis).add([(ONE, soon())])
    async with reading(Revocations(redis)) as reader:
        assert reader.is_ended(ONE)
        assert not reader.is_ended(TWO)
        await Announcements(redis).add([(TWO, soon()), (THREE, soon())])
        await until(lambda: reader.is_ended(TWO) and reader.is_ended(THREE))
        await reader.check()


async def test_a_service_answers_nobody_before_it_knows_what_ended_before(
    server: FakeServer, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(FakeAsyncRedis):
        async def xread(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0.1)
            return await super().xread(*args, **kwargs)

    monkeypatch.setattr(composition, "connect", lambda _: Slow(server=server, **DECODING))
    await Announcements(redis).add([(ONE, soon())])
    async with AsyncExitStack() as stack:
        parts = Parts(stack, Telemetry("tidings-test"))
        reader = await parts.revocations(RedisSettings(url=SecretStr("memory://redis")))
        assert reader.is_ended(ONE)


@pytest.mark.parametrize("away", ["refused", "silent"])
async def test_without_redis_a_service_starts_all_the_same_and_is_not_ready(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    class Away(FakeAsyncRedis):
        async def xread(self, *args: Any, **kwargs: Any) -> Any:
            if away == "silent":
                await asyncio.sleep(60)
            return await super().xread(*args, **kwargs)

    server.connected = away == "silent"
    monkeypatch.setattr(composition, "connect", lambda _: Away(server=server, **DECODING))
    monkeypatch.setattr(composition, "REVOCATIONS_PATIENCE", 0.05)
    async with asyncio.timeout(SECONDS), AsyncExitStack() as stack:
        parts = Parts(stack, Telemetry("tidings-test"))
        reader = await parts.revocations(RedisSettings(url=SecretStr("memory://redis")))
        with pytest.raises(RevocationsStale, match="no ended session is known"):
            await reader.check()


async def test_before_its_first_word_from_redis_a_reader_is_not_ready(server: FakeServer, redis: Any) -> None:
    server.connected = False
    reader = Revocations(redis)
    task = asyncio.create_task(reader.run())
    await asyncio.sleep(0.05)
    with pytest.raises(RevocationsStale, match="not heard from Redis since the start, so no ended session is known"):
        await reader.check()
    server.connected = True
    await until(lambda: reader.as_of is not None)
    await reader.check()
    await reader.stop(task, 1)


async def test_a_catch_up_of_many_reads_is_whole_before_anything_is_said_to_be_known(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "BATCH", 3)
    many = [UUID(int=number) for number in range(3 * 4)]
    await Announcements(redis).add([(one, soon()) for one in many])
    async with reading(Revocations(redis)) as reader:
        assert all(reader.is_ended(one) for one in many)


async def test_an_idle_reader_waits_in_redis_and_holds_nothing_up(redis: Any) -> None:
    async with reading(Revocations(redis)):
        before, turns = len(Counting.reads), 0
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            await asyncio.sleep(0.001)
            turns += 1
        assert len(Counting.reads) - before <= 11
        assert turns > 50
    assert Counting.reads[0] is None  # the first does not wait
    assert set(Counting.reads[1:]) == {50}


@pytest.mark.parametrize(
    "fields",
    [
        {"sid": str(TWO)},
        {"until": "9999999999"},
        {"x": "y"},
        {"sid": "no session", "until": "9999999999"},
        {"sid": b"\xff\xfe", "until": "9999999999"},
        {"sid": "", "until": "9999999999"},
        {"sid": str(TWO), "until": ""},
        {"sid": str(TWO), "until": "tomorrow"},
        {"sid": str(TWO), "until": "nan"},
        {"sid": str(TWO), "until": "inf"},
        {"sid": str(TWO), "until": "-inf"},
        {"sid": str(TWO), "until": b"\xff"},
        {b"\xff": b"\xff"},
    ],
    ids=repr,
)
async def test_an_entry_that_is_no_revocation_is_ignored_and_takes_no_other_away(
    redis: Any, fields: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await redis.xadd(STREAM, fields)
    await redis.xadd(STREAM, fields)
    await Announcements(redis).add([(ONE, soon())])
    async with reading(Revocations(redis)) as reader:
        assert reader.is_ended(ONE)
        assert not reader.is_ended(TWO)
        assert reader.ignored == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_what_is_past_is_not_learned_and_what_becomes_past_is_forgotten(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(redis, ONE, soon(-1))
    await put(redis, TWO, soon(300))
    await put(redis, THREE, soon(900))
    async with reading(Revocations(redis)) as reader:
        assert [reader.is_ended(one) for one in (ONE, TWO, THREE)] == [False, True, True]
        clock(monkeypatch, 301)
        await until(lambda: not reader.is_ended(TWO))
        assert reader.is_ended(THREE)
        clock(monkeypatch, 901)
        await until(lambda: not reader.is_ended(THREE))
        assert (reader._until, reader._by_time) == ({}, [])


async def test_what_is_past_is_forgotten_while_redis_is_away_too(
    server: FakeServer, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(redis, ONE, soon())
    async with reading(Revocations(redis)) as reader:
        server.connected = False
        assert reader.is_ended(ONE)
        clock(monkeypatch, 301)
        await until(lambda: not reader.is_ended(ONE))


async def test_the_latest_time_of_a_session_counts_whatever_their_order(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for session_id, times in ((ONE, (100, 300)), (TWO, (300, 100))):
        for seconds in times:
            await put(redis, session_id, soon(seconds))
    async with reading(Revocations(redis)) as reader:
        clock(monkeypatch, 200)
        await news(reader)
        assert reader.is_ended(ONE)
        assert reader.is_ended(TWO)
        clock(monkeypatch, 101)
        await until(lambda: not reader.is_ended(ONE) and not reader.is_ended(TWO))


async def test_a_time_beyond_any_tokens_life_is_cut_and_costs_no_more_when_it_is_read_again(
    server: FakeServer, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(redis, ONE, "1e300")
    async with reading(Revocations(redis)) as reader:
        for _ in range(3):
            server.connected = False
            await until(lambda: not reader._following)
            server.connected = True
            await until(lambda: reader._following)
        assert reader.is_ended(ONE)
        assert len(reader._by_time) == 1
        clock(monkeypatch, LONGEST_LIFETIME + revocations.CLOCKS + 1)
        await until(lambda: not reader.is_ended(ONE))


async def test_while_redis_is_away_what_was_known_holds_and_health_says_how_old_it_is(
    server: FakeServer, redis: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tidings.redis.revocations")
    await put(redis, ONE, soon())
    async with reading(Revocations(redis)) as reader:
        server.connected = False
        await until(lambda: not reader._following)
        await asyncio.sleep(0.05)
        heard = reader.as_of
        assert heard is not None
        assert reader.is_ended(ONE)
        reader._heard_at -= 12
        said = r"last heard from Redis 12 s ago; until it is back, .* refused only when its access token expires"
        with pytest.raises(RevocationsStale, match=said):
            await reader.check()
        server.connected = True
        await until(lambda: reader.as_of is not None and reader.as_of > heard)
        await reader.check()
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "INFO"]


async def test_after_redis_lost_its_data_and_counts_from_an_earlier_id_all_is_still_learned(
    server: FakeServer, redis: Any
) -> None:
    await put(redis, ONE, soon())
    other = FakeAsyncRedis(server=server, **DECODING)
    async with reading(Revocations(redis)) as reader:
        server.connected = False
        await until(lambda: not reader._following)
        server.connected = True
        await other.flushall()
        await put(other, TWO, soon(), "1-1")
        await until(lambda: reader.is_ended(TWO))
        await put(other, THREE, soon(), "1-2")
        await until(lambda: reader.is_ended(THREE))
        assert reader.is_ended(ONE)
    await other.aclose()


async def test_an_announcement_drops_what_matters_to_no_token_any_more(redis: Any, server: FakeServer) -> None:
    old = int((time.time() - LONGEST_LIFETIME - revocations.CLOCKS - 10) * 1000)
    for number in range(300):
        await put(redis, ONE, soon(), f"{old}-{number + 1}")
    await Announcements(redis).add([(TWO, soon())])
    assert await redis.xlen(STREAM) < 200


async def test_to_announce_nothing_or_the_same_again_does_no_harm(redis: Any) -> None:
    await Announcements(redis).add([])
    for _ in range(3):
        await Announcements(redis).add([(ONE, 2_000_000_000.25)] * 2)
    async with reading(Revocations(redis)) as reader:
        assert reader.is_ended(ONE)
        assert len(reader._by_time) == 1
    assert {fields["until"] for _, fields in await redis.xrange(STREAM)} == {"2000000001"}


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(keep, "127.0.0.1", 0) as listening:
        yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0"


@asynccontextmanager
async def no_server() -> AsyncIterator[str]:
    yield "redis://127.0.0.1:9/0"


@pytest.mark.parametrize("server_of", [silent_server, no_server])
async def test_an_announcement_that_nobody_takes_is_an_error_in_time(
    server_of: Callable[[], AbstractAsyncContextManager[str]],
) -> None:
    loop = asyncio.get_running_loop()
    async with server_of() as url:
        redis = connect(RedisSettings(url=SecretStr(url)))
        start = loop.time()
        with pytest.raises(RedisUnavailable):
            await Announcements(redis).add([(ONE, soon())])
        assert loop.time() - start < 2.5
        await redis.aclose()
