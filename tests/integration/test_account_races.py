"""Races for an account: what was true when a call began need not be true any more when it takes effect."""

import asyncio
import secrets
import unicodedata
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import func, insert, select

from support.instance import PASSWORD, Instance, running_instance
from tidings.events import uuid7
from tidings_auth import usernames
from tidings_auth.tables import sessions
from tidings_local.backends import Backends

OTHER_PASSWORD = "another one that nobody has"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def instance(shared_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """One instance for all tests of this module."""
    async with running_instance(shared_backends, tmp_path_factory.mktemp("instance")) as running:
        yield running


async def change_password(instance: Instance, headers: dict[str, str]) -> None:
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert (await instance.http.patch("/api/me/password", json=body, headers=headers)).status_code == 204


def held(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> asyncio.Event:
    """Have the calls of a method wait for the event that is returned."""
    method, go = getattr(owner, name), asyncio.Event()

    async def waiting(*arguments: Any) -> Any:
        await go.wait()
        return await method(*arguments)

    monkeypatch.setattr(owner, name, waiting)
    return go


async def test_who_signs_in_with_a_password_that_changes_meanwhile_gets_no_session(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"tester-{secrets.token_hex(4)}"
    owner = await instance.person(name)
    go = held(monkeypatch, instance.states["auth"]["sessions"]._rotation, "begin")
    body = {"username": name, "password": PASSWORD}
    login = asyncio.create_task(instance.http.post("/api/login", json=body))
    await asyncio.sleep(0.5)  # the password is verified by then
    await change_password(instance, owner)
    go.set()
    assert (await login).status_code == 401


async def test_the_old_password_deletes_nothing_once_it_is_changed(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await instance.person()
    profile = instance.states["auth"]["profile"]
    go = asyncio.Event()
    run = profile._database.run_in_transaction

    async def waiting(work: Any) -> Any:
        if "delete" in work.__qualname__:
            await go.wait()
        return await run(work)

    monkeypatch.setattr(profile._database, "run_in_transaction", waiting)
    deletion = asyncio.create_task(
        instance.http.request("DELETE", "/api/me", json={"password": PASSWORD}, headers=owner)
    )
    await asyncio.sleep(0.5)
    await change_password(instance, owner)
    go.set()
    assert (await deletion).status_code == 403
    assert (await instance.http.get("/api/me", headers=owner)).status_code == 200


async def test_an_admin_of_yesterday_cannot_take_the_role_back_with_a_token_of_yesterday(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"tester-{secrets.token_hex(4)}"
    administration = instance.states["auth"]["administration"]
    user_id = UUID((await instance.http.get("/api/me", headers=await instance.person(name))).json()["id"])
    await administration.change(user_id, None, role="admin")
    headers = await instance.sign_in(name)
    # The word of what ended does not arrive, as when Redis is away.
    monkeypatch.setattr(instance.states["auth"]["verifier"]._ended, "is_ended", lambda _: False)
    await administration.change((await another_admin(instance)), None, role="admin")
    await administration.change(user_id, None, disabled=True, role="user")
    path = f"/api/users/{user_id}"
    answer = await instance.http.patch(path, json={"disabled": False, "role": "admin"}, headers=headers)
    assert answer.status_code == 403


async def another_admin(instance: Instance) -> UUID:
    return UUID((await instance.http.get("/api/me", headers=await instance.person())).json()["id"])


async def test_a_username_of_a_whole_body_is_not_normalised_whole(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That would take seconds: the time grows with the square of the length."""
    lengths, normalize = [], unicodedata.normalize

    def counted(form: Any, text: str) -> str:
        lengths.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", counted)
    body = {"username": "\u0301" * 5000 + "\u0316" * 5000, "password": PASSWORD}
    answer = await instance.http.post("/api/register", json=body)
    assert answer.status_code == 422
    assert 0 < max(lengths) <= usernames.MAX_GIVEN + 1


async def test_an_origin_that_is_no_address_is_cross_site(instance: Instance) -> None:
    headers = {"Cookie": "tidings_refresh=x", "X-Tidings-Client": "tests", "Origin": "http://["}
    assert (await instance.http.post("/api/refresh", headers=headers)).status_code == 403


async def test_all_that_is_over_is_purged_however_much_it_is(instance: Instance) -> None:
    announcer, now = instance.states["auth"]["sessions"]._announcer, datetime.now(UTC)
    row = {
        "user_id": uuid7(),
        "token_family": "0" * 64,
        "created_at": now,
        "last_seen_at": now,
        "expires_at": now + timedelta(days=1),
    }
    over = [row | {"id": uuid7(), "ended_at": now - timedelta(hours=3)} for _ in range(1100)]

    async def write(transaction: Any) -> None:
        await transaction.execute(insert(sessions), over)

    await announcer._database.run_in_transaction(write)
    announcer._purged = float("-inf")
    await announcer._purge()
    left = select(func.count()).select_from(sessions).where(sessions.c.user_id == row["user_id"])

    async def read(connection: Any) -> Any:
        return (await connection.execute(left)).scalar_one()

    assert await announcer._database.read(read) == 0
