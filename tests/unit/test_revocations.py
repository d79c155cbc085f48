"""Revocations: what a reader of the stream knows, when, for how long, and what it cannot be brought to believe."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
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
    KEEP_SECONDS,
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


async def put(redis: Any, session_id: object, entry: str = "*") -> None:
    await redis.xadd(STREAM, {"sid": str(session_id)}, id=entry)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the monotonic clock, by which readers count, ahead of its true time."""
    monotonic = time.monotonic
    monkeypatch.setattr(revocations, "time", SimpleNamespace(monotonic=lambda: monotonic() + seconds))


async def test_what_ended_before_the_reader_started_and_while_it_runs_is_known(redis: Any) -> None:
    await Announcements(redis).add([ONE])
    async with reading(Revocations(redis)) as reader:
        assert reader.is_ended(ONE)
        assert not reader.is_ended(TWO)
        await Announcements(redis).add([TWO, THREE])
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
    await Announcements(redis).add([ONE])
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
    await Announcements(redis).add(many)
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
        {"id": str(TWO)},
        {"sid": "no session"},
        {"sid": b"\xff\xfe"},
        {"sid": ""},
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
    await Announcements(redis).add([ONE])
    async with reading(Revocations(redis)) as reader:
        assert reader.is_ended(ONE)
        assert not reader.is_ended(TWO)
        assert reader.ignored == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_ended_session_is_known_until_its_last_token_has_expired(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(redis, ONE)
    async with reading(Revocations(redis)) as reader:
        later(monkeypatch, KEEP_SECONDS - 10)
        await put(redis, TWO)
        await until(lambda: reader.is_ended(TWO))
        assert reader.is_ended(ONE)
        later(monkeypatch, KEEP_SECONDS + 1)
        await until(lambda: not reader.is_ended(ONE))
        assert reader.is_ended(TWO)
        later(monkeypatch, 2 * KEEP_SECONDS)
        await until(lambda: not reader.is_ended(TWO))
        assert reader._forget_at == {}


@pytest.mark.parametrize("ahead", [-86_400, 600, 86_400, 31 * 86_400])
async def test_ended_session_stays_ended_when_the_hosts_clock_is_set(
    server: FakeServer, redis: Any, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """Also when the clock is set while Redis is away, and when it is wrong while the session is learned."""
    wrong = time.time() + ahead
    await put(redis, ONE)
    async with reading(Revocations(redis)) as reader:
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda: wrong)
            await put(redis, TWO)
            await until(lambda: reader.is_ended(TWO))
            server.connected = False
            await until(lambda: not reader._following)
            server.connected = True
            await until(lambda: reader._following)
            assert reader.is_ended(ONE)
        await news(reader)
        assert reader.is_ended(ONE)
        assert reader.is_ended(TWO)


async def test_past_sessions_are_forgotten_while_redis_is_away_too(
    server: FakeServer, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(redis, ONE)
    async with reading(Revocations(redis)) as reader:
        server.connected = False
        assert reader.is_ended(ONE)
        later(monkeypatch, KEEP_SECONDS + 1)
        await until(lambda: not reader.is_ended(ONE))


async def test_reading_a_session_again_keeps_it_no_longer(
    server: FakeServer, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(redis, ONE)
    async with reading(Revocations(redis)) as reader:
        first = dict(reader._forget_at)
        for _ in range(3):
            server.connected = False
            await until(lambda: not reader._following)
            server.connected = True
            await until(lambda: reader._following)
        assert reader._forget_at == first


async def test_while_redis_is_away_what_was_known_holds_and_health_says_how_old_it_is(
    server: FakeServer, redis: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tidings.redis.revocations")
    await put(redis, ONE)
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
    await put(redis, ONE)
    other = FakeAsyncRedis(server=server, **DECODING)
    async with reading(Revocations(redis)) as reader:
        server.connected = False
        await until(lambda: not reader._following)
        server.connected = True
        await other.flushall()
        await put(other, TWO, "1-1")
        await until(lambda: reader.is_ended(TWO))
        await put(other, THREE, "1-2")
        await until(lambda: reader.is_ended(THREE))
        assert reader.is_ended(ONE)
    await other.aclose()


async def test_an_announcement_drops_what_matters_to_no_token_any_more(redis: Any, server: FakeServer) -> None:
    old = int((time.time() - KEEP_SECONDS - 10) * 1000)
    for number in range(300):
        await put(redis, ONE, f"{old}-{number + 1}")
    await Announcements(redis).add([TWO])
    assert await redis.xlen(STREAM) < 200


async def test_to_announce_nothing_or_the_same_again_does_no_harm(redis: Any) -> None:
    await Announcements(redis).add([])
    for _ in range(3):
        await Announcements(redis).add([ONE] * 2)
    async with reading(Revocations(redis)) as reader:
        assert reader.is_ended(ONE)
        assert len(reader._forget_at) == 1


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
            await Announcements(redis).add([ONE])
        assert loop.time() - start < 2.5
        await redis.aclose()
