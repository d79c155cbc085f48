"""Signing in: who guesses must wait, everybody else need not, and a password is what it was when it was chosen."""

import asyncio
import itertools
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from argon2 import PasswordHasher, extract_parameters
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, event, select, update
from sqlalchemy.exc import OperationalError

from support.instance import Instance, running_instance
from support.logins import from_address
from support.servers import RealServers
from tidings.database.engine import create_engine
from tidings.database.settings import DatabaseSettings
from tidings_auth.passwords import QUEUE, WORKERS
from tidings_auth.tables import users
from tidings_auth.throttle import HOLD_SECONDS
from tidings_local.backends import Backends

PASSWORD = "a password that nobody else has"
OLD = PasswordHasher(time_cost=1, memory_cost=64, parallelism=2)
ADDRESSES = (f"127.{one}.{two}.1" for one, two in itertools.product(range(10, 200), range(1, 250)))

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def instance(shared_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """One instance for all tests of this module: each brings its own person and its own addresses."""
    async with running_instance(shared_backends, tmp_path_factory.mktemp("instance")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def http(instance: Instance) -> AsyncIterator[httpx.AsyncClient]:
    """A client at an address that no other test has."""
    async with from_address(instance.url, next(ADDRESSES)) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def elsewhere(instance: Instance) -> AsyncIterator[httpx.AsyncClient]:
    """Another such client."""
    async with from_address(instance.url, next(ADDRESSES)) as client:
        yield client


async def registered(http: httpx.AsyncClient, password: str = PASSWORD) -> str:
    username = f"tester-{secrets.token_hex(4)}"
    answer = await http.post("/api/register", json={"username": username, "password": password})
    assert answer.status_code == 201, answer.text
    return username


async def log_in(http: httpx.AsyncClient, username: str, password: str = PASSWORD, **options: Any) -> httpx.Response:
    return await http.post("/api/login", json={"username": username, "password": password}, **options)


async def guess(http: httpx.AsyncClient, username: str, times: int, **options: Any) -> list[int]:
    """The statuses of wrong guesses, one after another."""
    return [(await log_in(http, username, "a wrong guess", **options)).status_code for _ in range(times)]


async def test_who_guesses_waits_longer_and_longer_while_the_person_signs_in_from_elsewhere(
    http: httpx.AsyncClient, elsewhere: httpx.AsyncClient
) -> None:
    username = await registered(http)
    assert await guess(http, username, 5) == [401] * 5
    refused = await log_in(http, username)
    assert refused.status_code == 429, "also the right password has to wait"
    problem = refused.json()
    assert (problem["type"], problem["title"]) == ("urn:tidings:problem:too-many-attempts", "Too Many Requests")
    assert "try again in 1 s" in problem["detail"]
    assert refused.elapsed.total_seconds() >= HOLD_SECONDS, "it is held back"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["ratelimit"] == '"account-and-address";r=0;t=1'
    assert refused.headers["ratelimit-policy"] == (
        '"account-and-address";q=5;w=4500, "address";q=30;w=1800, "account";q=100;w=3600'
    )
    assert (await log_in(elsewhere, username)).status_code == 200


async def test_each_wait_is_twice_the_one_before_and_is_enough(http: httpx.AsyncClient) -> None:
    username = await registered(http)
    waits = []
    assert await guess(http, username, 5) == [401] * 5
    for _ in range(2):
        waits.append(int((await log_in(http, username, "a wrong guess")).headers["retry-after"]))
        await asyncio.sleep(waits[-1])
        assert await guess(http, username, 1) == [401]
    assert waits == [1, 2]


async def test_a_success_starts_the_count_anew(http: httpx.AsyncClient) -> None:
    username = await registered(http)
    for _ in range(3):
        assert await guess(http, username, 4) == [401] * 4
        assert (await log_in(http, username)).status_code == 200


async def test_an_address_that_tries_many_accounts_waits_and_signing_in_does_not_help_it(
    http: httpx.AsyncClient, elsewhere: httpx.AsyncClient
) -> None:
    username = await registered(http)
    for number in range(30):
        assert await guess(http, f"nobody-{number}", 1) == [401]
        if number < 29:
            assert (await log_in(http, username)).status_code == 200
    refused = await log_in(http, username)
    assert (refused.status_code, refused.headers["ratelimit"]) == (429, '"address";r=0;t=1')
    assert (await log_in(elsewhere, username)).status_code == 200


async def test_no_header_of_the_caller_changes_who_it_is(http: httpx.AsyncClient) -> None:
    username = await registered(http)
    statuses = []
    for number in range(6):
        forged = f"203.0.113.{number}"
        headers = {"X-Forwarded-For": forged, "Forwarded": f"for={forged}", "X-Real-IP": forged, "Client-IP": forged}
        statuses += await guess(http, username, 1, headers=headers)
    assert statuses == [401] * 5 + [429]


async def test_of_many_guesses_at_once_only_the_free_ones_are_looked_at(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    username = await registered(http)
    looked_at = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, encoded: str, password: bytes) -> bool:
        looked_at.append(password)
        return verify(self, encoded, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    answers = await asyncio.gather(*(log_in(http, username, f"guess number {number}") for number in range(64)))
    assert 5 <= len(looked_at) <= 6, "on a slow machine one more, when the first second is over"
    assert Counter(answer.status_code for answer in answers) == {401: len(looked_at), 429: 64 - len(looked_at)}


async def test_an_account_that_there_is_not_is_throttled_as_one_that_there_is(instance: Instance) -> None:
    async def seen(username: str) -> list[Any]:
        async with from_address(instance.url, next(ADDRESSES)) as http:
            answers = [await log_in(http, username, "a wrong guess") for _ in range(6)]
        bodies = [{**answer.json(), "trace_id": ""} for answer in answers]
        return [(answer.status_code, set(answer.headers), body) for answer, body in zip(answers, bodies, strict=True)]

    assert await seen(await registered(instance.http)) == await seen("nobody-at-all")


async def test_an_attempt_that_nobody_looked_at_is_not_counted(instance: Instance, http: httpx.AsyncClient) -> None:
    username = await registered(http)

    def lose(connection: Connection, _: Any, statement: str, *__: Any) -> None:
        if "FROM users" in statement:
            raise OperationalError("SELECT", {}, Exception("the connection is gone"))

    event.listen(Engine, "before_cursor_execute", lose)
    try:
        assert await guess(http, username, 8) == [503] * 8
    finally:
        event.remove(Engine, "before_cursor_execute", lose)
    passwords = instance.states["auth"]["accounts"]._passwords
    passwords._waiting += QUEUE + WORKERS
    event.listen(Engine, "before_cursor_execute", lose)  # nor is anything done for who will be refused
    try:
        busy = await asyncio.gather(*(log_in(http, username) for _ in range(8)))
    finally:
        passwords._waiting -= QUEUE + WORKERS
        event.remove(Engine, "before_cursor_execute", lose)
    assert {(answer.status_code, answer.headers["retry-after"]) for answer in busy} == {(503, "2")}
    assert {answer.json()["detail"] for answer in busy} == {"Too many people sign in at this moment; try again."}
    assert await guess(http, username, 6) == [401] * 5 + [429]


@pytest.mark.parametrize(
    "password",
    ["\0" * 8, "nul \0 in it", "  both ends  ", "🧑‍🚀🧑‍🚀🧑‍🚀", "caf\u00e9 au lait", "cafe\u0301 au lait", "x" * 256],
    ids=lambda password: json.dumps(password)[:24],
)
async def test_a_password_is_verified_exactly_as_it_was_chosen(http: httpx.AsyncClient, password: str) -> None:
    username = await registered(http, password)
    near = {password.strip(), password.replace("\0", ""), password.replace("\u00e9", "e\u0301"), f"{password} "}
    near |= {password.replace("e\u0301", "\u00e9"), password.upper(), password[:-1]} - {password}
    for wrong in list(near - {password})[:4]:
        assert (await log_in(http, username, wrong)).status_code == 401, json.dumps(wrong)
    assert (await log_in(http, username, password)).status_code == 200


async def test_a_common_password_is_refused_by_name_of_its_field(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/register", json={"username": "minsu", "password": "Password1"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"pointer": "/password", "detail": "This password is one of the most common; choose another"}
    ]


class Stored:
    """The stored hash of one person's password."""

    def __init__(self, backends: Backends, username: str) -> None:
        self._engine = create_engine(DatabaseSettings(url=SecretStr(backends.database("auth"))))
        self._row = users.c.username == username

    async def read(self) -> Any:
        async with self._engine.connect() as connection:
            return (await connection.execute(select(users.c.password_hash).where(self._row))).scalar_one()

    async def write(self, encoded: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(update(users).where(self._row).values(password_hash=encoded))

    async def close(self) -> None:
        await self._engine.dispose()


@pytest_asyncio.fixture(loop_scope="module")
async def stored(http: httpx.AsyncClient, shared_backends: Backends) -> AsyncIterator[tuple[str, Stored]]:
    """Somebody who registered long ago, with the parameters of then."""
    username = await registered(http)
    stored = Stored(shared_backends, username)
    await stored.write(OLD.hash(PASSWORD))
    yield username, stored
    await stored.close()


async def test_a_hash_of_old_parameters_is_renewed_when_its_person_signs_in(
    http: httpx.AsyncClient, stored: tuple[str, Stored]
) -> None:
    username, row = stored
    old = await row.read()
    assert await guess(http, username, 1) == [401]
    assert await row.read() == old, "a wrong guess renews nothing"
    assert (await log_in(http, username)).status_code == 200
    renewed = await row.read()
    found = extract_parameters(renewed)
    assert (found.memory_cost, found.time_cost, found.parallelism) == (19_456, 2, 1)
    assert (await log_in(http, username)).status_code == 200
    assert await row.read() == renewed, "once is enough"


async def test_a_hash_that_changed_meanwhile_is_not_overwritten(
    instance: Instance, http: httpx.AsyncClient, stored: tuple[str, Stored]
) -> None:
    username, row = stored
    token = (await log_in(http, username)).json()["access_token"]
    me = (await http.get("/api/me", headers={"Authorization": f"Bearer {token}"})).json()
    other = OLD.hash("another password by now")
    await row.write(other)
    accounts = instance.states["auth"]["accounts"]
    await accounts.renew_hash(UUID(me["id"]), OLD.hash(PASSWORD), PASSWORD)
    assert await row.read() == other


async def test_a_hash_that_cannot_be_renewed_now_fails_no_login(
    http: httpx.AsyncClient, stored: tuple[str, Stored]
) -> None:
    username, row = stored
    old = await row.read()

    def lose(connection: Connection, _: Any, statement: str, *__: Any) -> None:
        if statement.startswith("UPDATE users SET password_hash"):
            raise OperationalError("UPDATE", {}, Exception("the connection is gone"))

    event.listen(Engine, "before_cursor_execute", lose)
    try:
        assert (await log_in(http, username)).status_code == 200
    finally:
        event.remove(Engine, "before_cursor_execute", lose)
    assert await row.read() == old


@pytest.mark.parametrize("shared_backends", [pytest.param("real", marks=pytest.mark.real)], indirect=True)
async def test_without_redis_signing_in_is_answered_503_in_time(
    instance: Instance, http: httpx.AsyncClient, servers: RealServers
) -> None:
    username = await registered(http)
    loop = asyncio.get_running_loop()
    servers.redis.pause()
    try:
        for _ in range(2):
            started = loop.time()
            answer = await log_in(http, username)
            assert loop.time() - started < 2
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["type"] == "urn:tidings:problem:unavailable"
    finally:
        servers.redis.resume()
    assert (await log_in(http, username)).status_code == 200
    assert await guess(http, username, 5) == [401] * 5


async def test_the_api_document_says_that_signing_in_can_be_too_much(instance: Instance) -> None:
    document = (await instance.http.get("/openapi/auth.json")).json()
    assert "429" in document["paths"]["/api/login"]["post"]["responses"]
