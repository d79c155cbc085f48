"""Registering: who asks for many taken names must wait, and who registers free ones need not."""

import itertools
import secrets
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from support.instance import PASSWORD, Instance, running_instance
from support.logins import from_address
from tidings_auth.name_throttle import FREE
from tidings_local.backends import Backends

ADDRESSES = (f"127.8.{number}.1" for number in itertools.count(1))

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def instance(shared_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """One instance for all tests of this module: each brings its own addresses."""
    async with running_instance(shared_backends, tmp_path_factory.mktemp("instance")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def http(instance: Instance) -> AsyncIterator[httpx.AsyncClient]:
    """A client at an address that no other test has."""
    async with from_address(instance.url, next(ADDRESSES)) as client:
        yield client


def new_name() -> str:
    return f"tester-{secrets.token_hex(4)}"


async def register(http: httpx.AsyncClient, username: str, **headers: str) -> httpx.Response:
    return await http.post("/api/register", json={"username": username, "password": PASSWORD}, headers=headers)


async def ask_for_taken_names(http: httpx.AsyncClient, name: str) -> None:
    """Use up what is free."""
    assert [(await register(http, name)).status_code for _ in range(FREE)] == [409] * FREE


async def test_who_asks_for_too_many_taken_names_waits(instance: Instance, http: httpx.AsyncClient) -> None:
    name = new_name()
    assert (await register(http, name)).status_code == 201
    await ask_for_taken_names(http, name)
    for asked in (name, new_name()):  # the answer does not depend on the name
        refused = await register(http, asked)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:tidings:problem:too-many-taken-names")
        assert 30 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit"] == f'"taken-names";r=0;t={refused.headers["retry-after"]}'
        assert refused.headers["ratelimit-policy"] == '"taken-names";q=20;w=1200'
    async with from_address(instance.url, next(ADDRESSES)) as elsewhere:
        assert (await register(elsewhere, name)).status_code == 409
        assert (await register(elsewhere, asked)).status_code == 201


async def test_no_header_of_the_caller_changes_whose_answers_count(http: httpx.AsyncClient) -> None:
    name = new_name()
    await register(http, name)
    await ask_for_taken_names(http, name)
    assert (await register(http, name, **{"X-Forwarded-For": "203.0.113.9"})).status_code == 429


async def test_registering_many_free_names_costs_nothing(http: httpx.AsyncClient) -> None:
    names = [new_name() for _ in range(FREE + 5)]
    assert [(await register(http, name)).status_code for name in names] == [201] * len(names)


async def test_repeated_registration_costs_nothing_and_is_answered_over_the_limit(http: httpx.AsyncClient) -> None:
    name, key = new_name(), {"Idempotency-Key": secrets.token_hex(8)}
    first = await register(http, name, **key)
    assert [(await register(http, name, **key)).content for _ in range(FREE)] == [first.content] * FREE
    await ask_for_taken_names(http, name)
    assert (await register(http, name, **key)).content == first.content
    assert (await register(http, name)).status_code == 429


async def test_invalid_registrations_cost_nothing(http: httpx.AsyncClient) -> None:
    name = new_name()
    for _ in range(FREE + 1):
        answer = await http.post("/api/register", json={"username": name, "password": name})
        assert answer.status_code == 422
    assert (await register(http, name)).status_code == 201
