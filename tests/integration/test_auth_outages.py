"""Auth while Redis or MariaDB stands still, is gone, or has forgotten: an answer in time, and no door open."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis as Client

from support.backends import fresh_backends
from support.instance import PASSWORD, Instance, running_instance
from support.servers import RealServers, require
from support.tab import OURS, Tab, newcomer
from support.told import events_of
from tidings.http.bearer import CLOCK_SKEW
from tidings.redis.client import connect
from tidings.redis.revocations import COMPLETE_MARK, STREAM
from tidings.redis.settings import RedisSettings
from tidings_auth import rotation
from tidings_auth.rotation import RefreshToken
from tidings_local.servers import Redis, Server

pytestmark = [pytest.mark.real, pytest.mark.serial]

IN_TIME = 2.0
RECOVERED = 5.0
"""Seconds; both are promised."""
OUTAGE_SECONDS = 2.0
BROWSERS = 8

Call = Callable[[], Awaitable[httpx.Response]]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that a test may kill."""
    require("Redis")
    with Redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def instance(servers: RealServers, redis: Redis, tmp_path: Path) -> AsyncIterator[Instance]:
    """An instance on real servers, with a Redis of its own."""
    with fresh_backends(tmp_path, servers) as backends:
        async with running_instance(replace(backends, redis=redis.url), tmp_path) as running:
            yield running


@pytest.fixture
async def person(instance: Instance) -> AsyncIterator[Tab]:
    """Somebody who registered and signed in."""
    async with browser(instance) as http:
        yield await newcomer(http)


def browser(instance: Instance) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=instance.url, timeout=30)


async def answered(call: Call) -> int:
    """Call, look whether the answer came in time and says when to try again, and return its status."""
    started = time.monotonic()
    answer = await call()
    assert time.monotonic() - started < IN_TIME
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code


async def recovered(call: Call, status: int) -> None:
    """Wait until a call is answered as it should be."""
    async with asyncio.timeout(RECOVERED):
        while (await call()).status_code != status:  # noqa: ASYNC110  # what is waited for sets no event here
            await asyncio.sleep(0.05)


@asynccontextmanager
async def fault(server: Server, kind: str) -> AsyncIterator[None]:
    """Have a server stand still, or be gone, while the block runs, and for two seconds at least."""
    server.pause() if kind == "frozen" else server.kill()
    end = time.monotonic() + OUTAGE_SECONDS
    try:
        yield
        await asyncio.sleep(end - time.monotonic())
    finally:
        server.resume() if kind == "frozen" else await asyncio.to_thread(server.start)


def server_of(name: str, servers: RealServers, redis: Redis) -> Server:
    return redis if name == "redis" else servers.mariadb


@pytest.mark.parametrize("kind", ["frozen", "killed"])
@pytest.mark.parametrize("name", ["redis", "mariadb"])
async def test_who_refreshes_during_an_outage_tries_again_and_stays_signed_in(
    instance: Instance, person: Tab, servers: RealServers, redis: Redis, name: str, kind: str
) -> None:
    cookie = person.cookie
    async with fault(server_of(name, servers, redis), kind):
        assert await answered(person.refresh) == 503
        assert person.cookie == cookie
    await recovered(person.refresh, 200)
    assert person.cookie != cookie
    assert await person.statuses() == {200}
    for type_ in ("session.ended", "session.reuse_detected"):
        assert await events_of(instance, servers.kafka.bootstrap, [person.username], type_) == []


async def test_while_mariadb_stands_still_no_cookie_is_spent(
    person: Tab, servers: RealServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = person.cookie
    async with fault(servers.mariadb, "frozen"):
        assert await answered(person.refresh) == 503
    monkeypatch.setattr(rotation, "GRACE", -rotation.GRACE)  # a spent one would be taken for stolen
    await recovered(lambda: person.refresh(cookie), 200)
    assert (await person.refresh()).status_code == 200


@pytest.mark.parametrize("kind", ["frozen", "killed"])
@pytest.mark.parametrize("name", ["redis", "mariadb"])
async def test_an_outage_in_the_midst_of_refreshes_signs_nobody_out(
    instance: Instance,
    servers: RealServers,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
) -> None:
    going = asyncio.Event()
    going.set()

    async def keep_refreshing(tab: Tab) -> Sequence[int]:
        statuses = []
        while going.is_set():
            statuses.append(await answered(tab.refresh))
            await asyncio.sleep(0.1)
        return statuses

    async with AsyncExitStack() as stack:
        tabs = [await newcomer(await stack.enter_async_context(browser(instance))) for _ in range(BROWSERS)]
        refreshing = [asyncio.create_task(keep_refreshing(tab)) for tab in tabs]
        await asyncio.sleep(0.5)
        async with fault(server_of(name, servers, redis), kind):
            await asyncio.sleep(2 * IN_TIME)
        await asyncio.sleep(0.5)
        going.clear()
        statuses = {status for task in refreshing for status in await task}
        assert statuses == {200, 503}
        for tab in tabs:
            await recovered(tab.refresh, 200)
        monkeypatch.setattr(rotation, "GRACE", -rotation.GRACE)  # what the jars have is the newest
        assert [(await tab.refresh()).status_code for tab in tabs] == [200] * BROWSERS
        assert [await tab.statuses() for tab in tabs] == [{200}] * BROWSERS
    names = [tab.username for tab in tabs]
    for type_ in ("session.ended", "session.reuse_detected"):
        assert await events_of(instance, servers.kafka.bootstrap, names, type_) == []


@asynccontextmanager
async def client_of(redis: Redis) -> AsyncIterator[Client]:
    client = connect(RedisSettings(url=SecretStr(redis.url)))
    try:
        yield client
    finally:
        await client.aclose()


async def flush(redis: Redis) -> None:
    async with client_of(redis) as client:
        await client.flushall()


async def all_announced(redis: Redis) -> None:
    """Wait until a sweep has announced all that matters."""
    async with client_of(redis) as client, asyncio.timeout(RECOVERED):
        while not await client.exists(COMPLETE_MARK):  # noqa: ASYNC110  # what is waited for sets no event here
            await asyncio.sleep(0.05)


async def announced(redis: Redis) -> set[UUID]:
    """The sessions that Redis says have ended."""
    async with client_of(redis) as client:
        entries: Any = await client.xrange(STREAM)
        return {UUID(fields["sid"]) for _, fields in entries}


def in_and_out(tab: Tab) -> dict[str, Call]:
    """Every call that needs Redis, each with its harmless form."""
    wrong = {"current_password": "not it at all", "new_password": "quite another password"}
    credentials = {"username": tab.username, "password": PASSWORD}
    return {
        "login": lambda: tab.http.post("/api/login", json=credentials),
        "refresh": tab.refresh,
        "logout": lambda: tab.http.post("/api/logout", headers=OURS),
        "password": lambda: tab.call("PATCH", "/api/me/password", json=wrong),
        "delete": lambda: tab.call("DELETE", "/api/me", json={"password": "not it"}),
    }


def with_a_token(tab: Tab) -> dict[str, Call]:
    """Calls that need the database, and an access token."""
    return {
        "me": lambda: tab.call("GET", "/api/me"),
        "sessions": lambda: tab.call("GET", "/api/sessions"),
        "post": lambda: tab.call("POST", "/api/messages", json={"message": "still here"}),
        "read": lambda: tab.call("GET", "/api/messages"),
        "log": lambda: tab.call("GET", "/api/logs"),
    }


@pytest.mark.parametrize("kind", ["frozen", "killed"])
async def test_without_redis_nobody_gets_in_and_who_is_in_goes_on_until_they_sign_out(
    instance: Instance, person: Tab, redis: Redis, kind: str
) -> None:
    calls = in_and_out(person)
    logout = calls.pop("logout")
    async with fault(redis, kind):
        for name, call in calls.items():
            assert await answered(call) == 503, name
        for name, call in with_a_token(person).items():
            assert await answered(call) in (200, 201), name
        items = (await person.call("GET", "/api/sessions")).json()["items"]
        assert [item["refreshable"] for item in items] == [None]
        anybody = {"username": f"{person.username}-2", "password": PASSWORD}
        for status in (201, 409):
            assert await answered(lambda: instance.http.post("/api/register", json=anybody)) == status
        assert await answered(logout) == 503  # it is in the database, but not every service knows yet
    cookie = person.cookie
    await recovered(logout, 204)
    await recovered(lambda: person.refresh(cookie), 401)
    await recovered(person.sign_in, 200)


@pytest.mark.parametrize("kind", ["frozen", "killed"])
async def test_without_mariadb_every_call_says_so_in_time(
    instance: Instance, person: Tab, servers: RealServers, kind: str
) -> None:
    anybody = {"username": f"{person.username}-2", "password": PASSWORD}
    calls = in_and_out(person) | with_a_token(person)
    calls["register"] = lambda: instance.http.post("/api/register", json=anybody)
    async with fault(servers.mariadb, kind):
        statuses = await asyncio.gather(*(answered(call) for call in calls.values()))
        assert dict(zip(calls, statuses, strict=True)) == dict.fromkeys(calls, 503)
        assert await answered(lambda: instance.http.get("/.well-known/jwks.json")) == 200
    await recovered(person.refresh, 200)
    for name in ("me", "post", "read", "log"):
        await recovered(calls[name], 201 if name == "post" else 200)
    assert (await person.sign_in()).status_code == 200  # the attempts during the outage count for nothing


async def test_a_session_that_ends_while_redis_is_away_is_refused_when_it_is_back(person: Tab, redis: Redis) -> None:
    async with fault(redis, "killed"):
        assert await answered(lambda: person.call("POST", "/api/logout")) == 503
        assert await person.statuses() == {200}
    assert await person.refused(RECOVERED)


@pytest.mark.parametrize("how", ["restarted empty", "flushed", "flushed beside a logout"])
async def test_a_redis_that_forgot_everything_brings_no_session_back(
    instance: Instance, person: Tab, redis: Redis, how: str
) -> None:
    async with browser(instance) as http, browser(instance) as another:
        gone, other = await newcomer(http), await newcomer(another)
        session_id, cookie = RefreshToken.parse(gone.cookie).session_id, gone.cookie
        assert (await gone.http.post("/api/logout", headers=OURS)).status_code == 204
        assert await gone.refused()

        if how.startswith("flushed"):
            await all_announced(redis)
            await flush(redis)
            if how != "flushed":  # then the next sweep finds a stream that holds this one session
                assert (await other.http.post("/api/logout", headers=OURS)).status_code == 204
        else:
            redis.kill()
            shutil.rmtree(redis.folder / "appendonlydir")
            redis.start()
        async with asyncio.timeout(RECOVERED):
            while session_id not in await announced(redis):  # noqa: ASYNC110  # others that start need it
                await asyncio.sleep(0.05)
        assert await gone.statuses() == {401}
        await recovered(lambda: gone.refresh(cookie), 401)
        over = await person.refresh()
        assert (over.status_code, over.json()["type"].rsplit(":", 1)[1]) == (401, "session-over")
        assert await person.refused()
        assert (await person.sign_in()).status_code == 200
        assert (await person.refresh()).status_code == 200


async def test_empty_replica_of_redis_ends_no_session(instance: Instance, person: Tab, redis: Redis) -> None:
    """In a failover the services may reach a replica that has not copied anything yet."""
    async with client_of(redis) as client:
        key = f"tidings:session:{RefreshToken.parse(person.cookie).session_id}"
        state: Any = await client.hgetall(key)
        await flush(redis)
        await client.replicaof("127.0.0.1", "1")
        cookie = person.cookie
        assert await answered(person.refresh) == 503
        assert person.cookie == cookie
        assert await person.statuses() == {200}
        await client.replicaof("NO", "ONE")
        await client.hset(key, mapping=state)
        assert (await person.refresh()).status_code == 200


async def test_with_redis_and_kafka_down_an_ended_session_is_refused_when_its_token_expires(
    instance: Instance, person: Tab, servers: RealServers, redis: Redis
) -> None:
    lifetime = 4
    instance.states["auth"]["issuer"].lifetime = lifetime
    issued = time.time()
    assert (await person.refresh()).status_code == 200
    redis.kill()
    servers.kafka.pause()
    try:
        assert await answered(lambda: person.call("POST", "/api/logout")) == 503
        assert await person.statuses() == {200}
        await asyncio.sleep(issued + lifetime + CLOCK_SKEW + 1 - time.time())
        assert await person.statuses() == {401}
    finally:
        servers.kafka.resume()


async def test_a_session_that_ends_while_it_is_refreshed_gets_no_new_token(
    instance: Instance, person: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate = rotation.Rotation.rotate

    async def rotate_and_end(self: rotation.Rotation, token: RefreshToken) -> Any:
        newest = await rotate(self, token)
        await person.call("POST", "/api/logout")
        return newest

    monkeypatch.setattr(rotation.Rotation, "rotate", rotate_and_end)
    assert (await person.refresh()).status_code == 401
    assert await person.refused()
