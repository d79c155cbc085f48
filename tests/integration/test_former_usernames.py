"""Former usernames: the name of a deleted account stays taken, so nobody becomes the author of what it posted."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from support.instance import PASSWORD, Instance, running_instance
from tidings.database.moments import database_now
from tidings.database.transactions import Transaction
from tidings_auth.tables import former_usernames
from tidings_auth.usernames import folded
from tidings_local.backends import Backends

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def instance(shared_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """One instance for all tests of this module: each brings its own person."""
    async with running_instance(shared_backends, tmp_path_factory.mktemp("instance")) as running:
        yield running


@pytest.fixture
def name() -> str:
    return f"Straße-{secrets.token_hex(4)}"


async def register(instance: Instance, username: str, **headers: str) -> httpx.Response:
    body = {"username": username, "password": PASSWORD}
    return await instance.http.post("/api/register", json=body, headers=headers)


async def delete_account(instance: Instance, person: dict[str, str]) -> httpx.Response:
    return await instance.http.request("DELETE", "/api/me", json={"password": PASSWORD}, headers=person)


async def former_names(instance: Instance) -> list[str]:
    async def read(connection: AsyncConnection) -> list[str]:
        return list((await connection.execute(select(former_usernames.c.username_folded))).scalars())

    names: list[str] = await instance.states["auth"]["accounts"]._database.read(read)
    return names


async def test_name_of_deleted_account_is_refused_in_every_spelling(instance: Instance, name: str) -> None:
    person = await instance.person(name)
    assert (await delete_account(instance, person)).status_code == 204
    for spelling in (name, name.upper(), name.lower()):
        assert (await register(instance, spelling)).status_code == 409


async def test_name_of_deleted_account_is_refused_as_a_taken_one(instance: Instance, name: str) -> None:
    taken = f"tester-{secrets.token_hex(4)}"
    await instance.person(taken)
    await delete_account(instance, await instance.person(name))
    answers = [await register(instance, each) for each in (taken, name)]
    first, second = [{**answer.json(), "trace_id": ""} for answer in answers]
    assert first == second
    assert first["type"] == "urn:tidings:problem:username-taken"
    assert set(answers[0].headers) == set(answers[1].headers)


async def test_registration_that_waits_for_the_deletion_is_refused(
    instance: Instance, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saw the name free before it hashed; meanwhile an account of that name was made and is being deleted."""
    registration, profile = instance.states["auth"]["registration"], instance.states["auth"]["profile"]
    hash_it, run = registration._passwords.hash, profile._database.run_in_transaction
    hashing, go_on, deleted, commit = (asyncio.Event() for _ in range(4))

    async def slow_hash(password: str) -> str:
        hashing.set()
        await go_on.wait()
        return str(await hash_it(password))

    async def slow_commit(work: Any) -> Any:
        async def held(transaction: Any) -> Any:
            result = await work(transaction)
            deleted.set()
            await commit.wait()
            return result

        return await run(held if "delete" in work.__qualname__ else work)

    with monkeypatch.context() as patch:
        patch.setattr(registration._passwords, "hash", slow_hash)
        late = asyncio.create_task(register(instance, name))
        await hashing.wait()
    person = await instance.person(name)
    with monkeypatch.context() as patch:
        patch.setattr(profile._database, "run_in_transaction", slow_commit)
        deletion = asyncio.create_task(delete_account(instance, person))
        await deleted.wait()
    go_on.set()
    await asyncio.sleep(0.3)
    assert not late.done(), "it waits for the lock of the deleted row"
    commit.set()
    assert (await deletion).status_code == 204
    assert (await late).status_code == 409


async def test_repeated_registration_still_gets_its_first_answer(instance: Instance, name: str) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    first = await register(instance, name, **key)
    await delete_account(instance, await instance.sign_in(name))
    assert (await register(instance, name, **key)).content == first.content
    assert (await register(instance, name)).status_code == 409


async def test_deletion_that_fails_leaves_no_former_name(
    instance: Instance, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await instance.person(name)

    def fail(_: Any) -> Any:
        raise RuntimeError("in the midst of the transaction")

    with monkeypatch.context() as patch:
        patch.setattr("tidings_auth.profile.delete", fail)
        assert (await delete_account(instance, person)).status_code == 500
    assert folded(name) not in await former_names(instance)
    assert (await instance.http.get("/api/me", headers=person)).status_code == 200


async def test_account_with_a_former_name_can_be_deleted(instance: Instance, name: str) -> None:
    """During an upgrade an older release, which does not look at former names, may have given the name again."""
    person = await instance.person(name)

    async def write(transaction: Transaction) -> None:
        row = {"username_folded": folded(name), "deleted_at": database_now()}
        await transaction.execute(insert(former_usernames).values(row))

    await instance.states["auth"]["accounts"]._database.run_in_transaction(write)
    assert (await delete_account(instance, person)).status_code == 204
    assert (await former_names(instance)).count(folded(name)) == 1
