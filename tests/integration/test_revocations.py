"""Ended sessions: every service refuses their tokens soon, and without Redis nothing else changes."""

import asyncio
import json
import shutil
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from faults.proxy import Mode, open_proxies
from support.backends import fresh_backends
from support.instance import Instance, running_instance
from support.servers import require
from tidings.events import uuid7
from tidings.redis.client import connect
from tidings.redis.revocations import STREAM, Announcements, Revocations, RevocationsStale
from tidings.redis.settings import RedisSettings
from tidings_local.backends import Backends
from tidings_local.servers import Redis

PLACES = ("/api/me", "/api/messages", "/api/logs")
"""One of each service."""
LEARNED = 5.0
"""Seconds within which every service knows; promised."""
UNHURRIED = 1.0
"""Seconds that no request needs unless it waits for Redis."""


def session_of(headers: dict[str, str]) -> UUID:
    payload = headers["Authorization"].split(".")[1]
    return UUID(json.loads(urlsafe_b64decode(payload + "=="))["sid"])


async def end(redis: str, *sessions: UUID) -> None:
    """Announce from outside that sessions ended."""
    client = connect(RedisSettings(url=SecretStr(redis)))
    await Announcements(client).add(sessions)
    await client.aclose()


async def answers(instance: Instance, headers: dict[str, str]) -> list[httpx.Response]:
    return [await instance.http.get(path, headers=headers) for path in PLACES]


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(LEARNED):
        while not await holds():  # noqa: ASYNC110  # what is waited for sets no event here
            await asyncio.sleep(0.02)


async def refused_everywhere(instance: Instance, headers: dict[str, str]) -> None:
    async def refused() -> bool:
        return {answer.status_code for answer in await answers(instance, headers)} == {401}

    await until(refused)


@dataclass
class Following:
    """A reader at work."""

    reader: Revocations

    async def knows(self, session: UUID) -> None:
        async def known() -> bool:
            return self.reader.is_ended(session)

        await until(known)


@asynccontextmanager
async def following(url: str) -> AsyncIterator[Following]:
    """Run a reader by itself until the block ends."""
    client = connect(RedisSettings(url=SecretStr(url)))
    reader = Revocations(client)
    task = asyncio.create_task(reader.run())
    try:
        yield Following(reader)
    finally:
        await reader.stop(task, 1)
        await client.aclose()


async def revocations_of(instance: Instance, admin: dict[str, str]) -> list[dict[str, Any]]:
    found = await instance.http.get("/health/ready", headers=admin)
    assert found.status_code == 200, found.text
    dependencies = found.json()["dependencies"]
    return [dependencies[f"{service}/revocations"] for service in ("auth", "messages", "logs")]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that a test may kill."""
    require("Redis")
    with Redis(tmp_path / "redis") as server:
        yield server


@asynccontextmanager
async def on(redis: Redis, folder: Path) -> AsyncIterator[Instance]:
    """An instance whose Redis alone is a real one."""
    with fresh_backends(folder, None) as backends:
        async with running_instance(replace(backends, redis=redis.url), folder) as instance:
            yield instance


async def test_a_session_that_ended_is_refused_by_every_service_and_no_other_is(
    backends: Backends, tmp_path: Path
) -> None:
    async with running_instance(backends, tmp_path) as instance:
        ended, other = await instance.person("mina"), await instance.person("minsu")
        again = await instance.sign_in("mina")
        assert {answer.status_code for answer in await answers(instance, ended)} == {200}
        await end(backends.redis, session_of(ended))
        await refused_everywhere(instance, ended)
        for answer in await answers(instance, ended):
            assert answer.json()["detail"] == "The session has ended; sign in again."
            assert answer.json()["type"] == "urn:tidings:problem:not-authenticated"
            assert answer.headers["www-authenticate"] == "Bearer"
        posted = await instance.http.post("/api/messages", json={"message": "still here"}, headers=ended)
        assert posted.status_code == 401
        for headers in (other, again):
            assert {answer.status_code for answer in await answers(instance, headers)} == {200}


async def test_a_service_that_starts_later_knows_what_ended_before(backends: Backends, tmp_path: Path) -> None:
    async with running_instance(backends, tmp_path) as instance:
        ended = await instance.person()
    await end(backends.redis, session_of(ended))
    async with running_instance(backends, tmp_path) as instance:
        assert {answer.status_code for answer in await answers(instance, ended)} == {401}
        admin = await instance.admin()
        assert all(found["ok"] and found["as_of"] for found in await revocations_of(instance, admin))


@pytest.mark.real
@pytest.mark.serial
@pytest.mark.parametrize("absence", ["killed", "frozen"])
async def test_without_redis_live_tokens_go_on_undelayed_and_health_says_how_old_the_news_is(
    redis: Redis, tmp_path: Path, absence: str
) -> None:
    async with on(redis, tmp_path) as instance:
        live, ended, later = [await instance.person() for _ in range(3)]
        admin = await instance.admin()
        await end(redis.url, session_of(ended))
        await refused_everywhere(instance, ended)
        redis.kill() if absence == "killed" else redis.pause()

        gone = time.monotonic()
        took, refused = [], 0
        while time.monotonic() < gone + 4:
            for path in PLACES:
                start = time.monotonic()
                assert (await instance.http.get(path, headers=live)).status_code == 200
                took.append(time.monotonic() - start)
            posted = await instance.http.post("/api/messages", json={"message": "still here"}, headers=live)
            assert posted.status_code == 201
            refused += (await instance.http.get("/api/messages", headers=ended)).status_code == 401
        assert len(took) > 30
        assert sorted(took)[len(took) * 9 // 10] < UNHURRIED  # the slowest may have waited for this machine
        assert refused == len(took) / len(PLACES)  # what was known holds

        for found in await revocations_of(instance, admin):
            assert found["ok"] is False
            assert found["setting"] == "TIDINGS_REDIS_URL"
            assert "last heard from Redis" in found["reason"]
            assert "refused only when its access token expires" in found["reason"]
            assert found["as_of"].endswith("Z")

        redis.start() if absence == "killed" else redis.resume()
        await end(redis.url, session_of(later))
        await refused_everywhere(instance, later)
        assert all(found["ok"] for found in await revocations_of(instance, admin))


@pytest.mark.real
async def test_a_reader_waits_for_a_redis_that_comes_later(redis: Redis) -> None:
    redis.stop()
    async with following(redis.url) as follower:
        await asyncio.sleep(1)
        with pytest.raises(RevocationsStale, match="not heard from Redis since the start"):
            await follower.reader.check()
        redis.start()
        ended = uuid7()
        await end(redis.url, ended)
        await follower.knows(ended)
        await follower.reader.check()


@pytest.mark.real
@pytest.mark.parametrize("mode", [Mode.RESET, Mode.BLACK_HOLE])
async def test_a_reader_that_was_cut_off_learns_what_was_announced_meanwhile(redis: Redis, mode: Mode) -> None:
    before, during, after = uuid7(), uuid7(), uuid7()
    with open_proxies() as proxies:
        door = proxies.to(redis.port)
        async with following(f"redis://127.0.0.1:{door.port}/0") as follower:
            await end(redis.url, before)
            await follower.knows(before)
            door.become(mode)
            await end(redis.url, during)
            await asyncio.sleep(2)
            assert [follower.reader.is_ended(session) for session in (before, during)] == [True, False]
            door.become(Mode.FORWARD)
            await follower.knows(during)
            await end(redis.url, after)
            await follower.knows(after)


@pytest.mark.real
async def test_after_redis_lost_everything_its_ids_may_begin_anew(redis: Redis) -> None:
    before, after = uuid7(), uuid7()
    async with following(redis.url) as follower:
        await end(redis.url, before)
        await follower.knows(before)
        redis.kill()
        shutil.rmtree(redis.folder / "appendonlydir")
        redis.start()
        writer = connect(RedisSettings(url=SecretStr(redis.url)))
        await writer.xadd(STREAM, {"sid": str(after)}, id="1-1")
        await writer.aclose()
        await follower.knows(after)
        assert follower.reader.is_ended(before)
