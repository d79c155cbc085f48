"""Sessions: signing in, going on and signing out as clients do, over HTTP, on every service."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import Row, func, select, update

from support.instance import PASSWORD, Instance, running_instance
from support.logins import from_address
from support.tab import COOKIE, OURS, Tab, newcomer
from tidings.database.moments import database_now
from tidings_auth import rotation
from tidings_auth.tables import outbox, sessions, users
from tidings_local.backends import Backends

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def instance(shared_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """One instance for all tests of this module: each brings its own person."""
    async with running_instance(shared_backends, tmp_path_factory.mktemp("instance")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def person(instance: Instance) -> AsyncIterator[Tab]:
    """Somebody who registered and signed in."""
    async with httpx.AsyncClient(base_url=instance.url, timeout=15) as http:
        yield await newcomer(http)


@pytest_asyncio.fixture(loop_scope="module")
async def other(instance: Instance, person: Tab) -> AsyncIterator[Tab]:
    """The same person, signed in on another device."""
    async with httpx.AsyncClient(base_url=instance.url, timeout=15, headers={"User-Agent": "phone"}) as http:
        tab = Tab(http, person.username)
        assert (await tab.sign_in()).status_code == 200
        yield tab


async def rows(instance: Instance, statement: Any) -> list[Row[Any]]:
    async def read(connection: Any) -> list[Row[Any]]:
        return list(await connection.execute(statement))

    found: list[Row[Any]] = await instance.states["auth"]["accounts"]._database.read(read)
    return found


async def events(tab: Tab, type_: str, count: int = 1) -> list[dict[str, Any]]:
    """The person's events of a type, once there are `count`; read with a session of its own."""
    for _ in range(200):
        answer = await tab.call("GET", f"/api/logs?type={type_}&limit=100")
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        if len(found) >= count:
            break
        await asyncio.sleep(0.05)
    return found


async def test_signing_in_sets_a_cookie_that_only_refresh_and_logout_are_sent(person: Tab) -> None:
    answer = await person.sign_in()
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "username", "status"}
    set_cookies = answer.headers.get_list("set-cookie")
    assert [line.split("; ")[0].split("=")[0] for line in set_cookies] == [COOKIE, COOKIE]
    for line, path in zip(set_cookies, ("/api/refresh", "/api/logout"), strict=True):
        attributes = line.split("; ")[1:]
        assert {"HttpOnly", "SameSite=strict", f"Path={path}"} <= set(attributes)
        assert not any(attribute.startswith("Domain") for attribute in attributes)
    assert person.cookie not in answer.text


async def test_a_refresh_gives_a_new_token_and_a_new_cookie(person: Tab) -> None:
    token, cookie = person.token, person.cookie
    answer = await person.refresh()
    assert answer.status_code == 200
    assert person.token != token
    assert person.cookie != cookie
    assert await person.statuses() == {200}


async def test_without_a_cookie_there_is_nothing_to_refresh(instance: Instance) -> None:
    answer = await instance.http.post("/api/refresh", headers=OURS)
    assert answer.status_code == 401
    assert answer.json()["type"].endswith("not-authenticated")


@pytest.mark.parametrize("cookie", ["x", "A" * 86, "%7F", "a" * 5_000])
async def test_a_cookie_that_is_none_is_refused(instance: Instance, person: Tab, cookie: str) -> None:
    answer = await Tab(instance.http, "nobody").refresh(cookie)
    assert answer.status_code == 401
    assert answer.json()["type"].endswith("session-over")
    assert (await person.refresh()).status_code == 200


@pytest.mark.parametrize("path", ["/api/refresh", "/api/logout"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        OURS | {"Sec-Fetch-Site": "cross-site"},
        OURS | {"Sec-Fetch-Site": "same-site"},
        OURS | {"Sec-Fetch-Site": "none"},
        OURS | {"Origin": "https://evil.example"},
        OURS | {"Origin": "null"},
    ],
)
async def test_a_page_of_another_site_can_do_nothing_with_the_cookie(
    person: Tab, path: str, headers: dict[str, str]
) -> None:
    before = person.cookie
    answer = await person.http.post(path, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["type"].endswith("cross-site")
    assert person.cookie == before
    assert (await person.refresh()).status_code == 200


async def test_a_page_of_our_own_may_refresh(person: Tab, instance: Instance) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": instance.url}
    assert (await person.refresh(**headers)).status_code == 200


async def test_a_lost_answer_can_be_asked_for_again(person: Tab) -> None:
    cookie = person.cookie
    await person.refresh()
    kept = person.cookie
    assert (await person.refresh(cookie)).status_code == 200
    assert person.cookie == kept


async def test_a_cookie_that_comes_back_late_ends_the_session_everywhere(
    instance: Instance, person: Tab, other: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    stolen = person.cookie
    assert (await person.refresh()).status_code == 200
    monkeypatch.setattr(rotation, "GRACE", -rotation.GRACE)
    assert (await other.http.post("/api/refresh", headers=OURS | {"Cookie": f"{COOKIE}={stolen}"})).status_code == 401
    assert await person.refused()
    assert (await person.refresh()).status_code == 401
    assert len(await events(other, "session.reuse_detected")) == 1
    assert [event["data"]["reason"] for event in await events(other, "session.ended")] == ["reuse"]
    assert await other.statuses() == {200}


async def test_signing_out_ends_the_session_everywhere_and_clears_the_cookie(person: Tab, other: Tab) -> None:
    answer = await person.http.post("/api/logout", headers=OURS)
    assert (answer.status_code, answer.content) == (204, b"")
    assert len(answer.headers.get_list("set-cookie")) == 2
    assert list(person.http.cookies.jar) == []
    assert await person.refused()
    assert [event["data"]["reason"] for event in await events(other, "session.ended")] == ["logout"]
    assert await other.statuses() == {200}


async def test_signing_out_again_is_no_error_and_no_event(person: Tab, other: Tab) -> None:
    cookie = person.cookie
    for _ in range(3):
        assert (
            await person.http.post("/api/logout", headers=OURS | {"Cookie": f"{COOKIE}={cookie}"})
        ).status_code == 204
    await other.sign_in()
    assert len(await events(other, "session.started", 3)) == 3
    assert len(await events(other, "session.ended")) == 1


async def test_an_access_token_alone_signs_out_too(person: Tab) -> None:
    person.http.cookies.clear()
    assert (await person.call("POST", "/api/logout")).status_code == 204
    assert await person.refused()


async def test_an_expired_access_token_does_not_keep_the_cookie_from_signing_out(person: Tab) -> None:
    """A page that was left alone for five minutes sends both."""
    headers = OURS | {"Authorization": "Bearer what.has.expired"}
    assert (await person.http.post("/api/logout", headers=headers)).status_code == 204
    assert await person.refused()
    assert (await person.refresh()).status_code == 401


async def test_a_cookie_signs_out_also_when_redis_has_forgotten_the_session(instance: Instance, person: Tab) -> None:
    id_ = rotation.RefreshToken.parse(person.cookie).session_id
    await instance.states["auth"]["sessions"]._rotation.forget([id_])
    assert (await person.http.post("/api/logout", headers=OURS)).status_code == 204
    assert await person.refused()


async def test_signing_out_answers_json_to_who_asks_for_it(person: Tab) -> None:
    answer = await person.http.post("/api/logout", headers=OURS | {"Accept": "application/json, text/plain, */*"})
    assert (answer.status_code, answer.json()) == (200, {"status": "success"})


@pytest.mark.parametrize("accept", ["application/json;q=0, */*", "*/*", "application/jsonp"])
async def test_sign_out_without_wish_for_json_answers_204(person: Tab, accept: str) -> None:
    answer = await person.http.post("/api/logout", headers=OURS | {"Accept": accept})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_nobody_signs_out_a_stranger(instance: Instance, person: Tab) -> None:
    assert (await instance.http.post("/api/logout", headers=OURS)).status_code == 401
    made_up = str(rotation.RefreshToken.new(rotation.RefreshToken.parse(person.cookie).session_id))
    answer = await instance.http.post("/api/logout", headers=OURS | {"Cookie": f"{COOKIE}={made_up}"})
    assert answer.status_code == 204
    assert await person.statuses() == {200}
    assert (await person.refresh()).status_code == 200


async def test_people_see_where_they_are_signed_in(person: Tab, other: Tab) -> None:
    items = (await person.call("GET", "/api/sessions")).json()["items"]
    assert [item["current"] for item in items] == [False, True]
    assert items[0]["device"] == "phone"
    assert {item["address"] for item in items} == {"127.0.0.1"}
    page = (await person.call("GET", "/api/sessions?limit=1")).json()
    rest = (await person.call("GET", f"/api/sessions?limit=1&cursor={page['next_cursor']}")).json()
    assert page["items"] + rest["items"] == items
    assert rest["next_cursor"] is None


async def test_a_refresh_is_seen_in_the_list(instance: Instance, person: Tab) -> None:
    before = (await person.call("GET", "/api/sessions")).json()["items"][0]
    async with from_address(instance.url, "127.9.9.9") as http:
        moved = Tab(http, person.username)
        assert (await moved.refresh(person.cookie, **{"User-Agent": "tablet"})).status_code == 200
    after = (await person.call("GET", "/api/sessions")).json()["items"][0]
    assert (after["id"], after["device"], after["address"]) == (before["id"], "tablet", "127.9.9.9")
    assert after["last_seen_at"] > before["last_seen_at"]


async def lose_refresh_token(instance: Instance, tab: Tab) -> UUID:
    """Remove the session from Redis, as when Redis loses its data, and return the session's id."""
    id_ = rotation.RefreshToken.parse(tab.cookie).session_id
    await instance.states["auth"]["sessions"]._rotation.forget([id_])
    return id_


async def listed(tab: Tab) -> dict[str, bool | None]:
    """The sessions in the list, and whether each can be refreshed."""
    items = (await tab.call("GET", "/api/sessions")).json()["items"]
    return {item["id"]: item["refreshable"] for item in items}


async def test_list_says_which_sessions_can_be_refreshed(instance: Instance, person: Tab, other: Tab) -> None:
    assert list((await listed(person)).values()) == [True, True]
    lost = await lose_refresh_token(instance, other)
    assert list((await listed(person)).values()) == [False, True]
    assert next(iter(await listed(person))) == str(lost)
    assert await other.statuses() == {200}, "its access token has not expired"


async def test_refresh_with_a_lost_token_ends_the_session(instance: Instance, person: Tab, other: Tab) -> None:
    lost = await lose_refresh_token(instance, person)
    answer = await person.refresh()
    assert (answer.status_code, answer.json()["type"].rsplit(":", 1)[1]) == (401, "session-over")
    assert str(lost) not in await listed(other)
    assert await person.refused()
    assert [event["data"]["reason"] for event in await events(other, "session.ended")] == ["token_lost"]
    assert (await other.refresh()).status_code == 200


async def test_made_up_token_ends_no_session_that_redis_lost(instance: Instance, person: Tab) -> None:
    lost = await lose_refresh_token(instance, person)
    assert (await person.refresh(str(rotation.RefreshToken.new(lost)))).status_code == 401
    assert await listed(person) == {str(lost): False}
    assert await person.statuses() == {200}


async def test_session_that_idled_too_long_is_not_called_lost(instance: Instance, person: Tab, other: Tab) -> None:
    lost = await lose_refresh_token(instance, person)

    async def write(transaction: Any) -> None:
        old = database_now(-timedelta(days=15))
        await transaction.execute(update(sessions).where(sessions.c.id == lost).values(last_seen_at=old))

    await instance.states["auth"]["accounts"]._database.run_in_transaction(write)
    assert (await person.refresh()).status_code == 401
    assert str(lost) not in await listed(other)
    (row,) = await rows(instance, select(sessions.c.ended_at).where(sessions.c.id == lost))
    assert row.ended_at is None


async def test_people_end_one_session_or_all_others(person: Tab, other: Tab) -> None:
    items = (await person.call("GET", "/api/sessions")).json()["items"]
    assert (await person.call("DELETE", f"/api/sessions/{items[0]['id']}")).status_code == 204
    assert await other.refused()
    assert (await person.call("DELETE", f"/api/sessions/{items[0]['id']}")).status_code == 404
    await other.sign_in()
    assert (await person.call("DELETE", "/api/sessions")).status_code == 204
    assert await other.refused()
    assert (await other.refresh()).status_code == 401
    assert await person.statuses() == {200}
    assert len((await person.call("GET", "/api/sessions")).json()["items"]) == 1


async def test_nobody_ends_a_session_of_somebody_else(instance: Instance, person: Tab) -> None:
    mine = (await person.call("GET", "/api/sessions")).json()["items"][0]["id"]
    stranger = await instance.person()
    assert (await instance.http.delete(f"/api/sessions/{mine}", headers=stranger)).status_code == 404
    assert await person.statuses() == {200}


async def test_the_session_that_was_used_longest_ago_makes_room(
    instance: Instance, person: Tab, other: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidings_auth.sessions.MOST", 2)
    assert (await person.refresh()).status_code == 200
    async with httpx.AsyncClient(base_url=instance.url, timeout=15) as http:
        third = Tab(http, person.username)
        assert (await third.sign_in()).status_code == 200
        assert await other.refused()
        assert await person.statuses() == await third.statuses() == {200}
        assert [event["data"]["reason"] for event in await events(third, "session.ended")] == ["too_many"]


async def test_another_password_ends_the_other_sessions(person: Tab, other: Tab) -> None:
    body = {"current_password": PASSWORD, "new_password": "quite another password"}
    assert (await person.call("PATCH", "/api/me/password", json=body)).status_code == 204
    assert await other.refused()
    assert await person.statuses() == {200}
    assert (await person.refresh()).status_code == 200
    assert (await other.sign_in()).status_code == 401
    assert (await other.sign_in("quite another password")).status_code == 200
    assert len(await events(other, "user.password_changed")) == 1


async def test_a_change_of_password_whose_answer_was_lost_can_be_asked_for_again(person: Tab) -> None:
    body = {"current_password": PASSWORD, "new_password": "quite another password"}
    headers = {"Authorization": f"Bearer {person.token}", "Idempotency-Key": secrets.token_hex(8)}
    for _ in range(2):
        assert (await person.http.patch("/api/me/password", json=body, headers=headers)).status_code == 204
    assert (await person.sign_in("quite another password")).status_code == 200
    assert len(await events(person, "user.password_changed")) == 1


async def test_another_password_needs_the_present_one_and_the_policy(person: Tab, other: Tab) -> None:
    wrong = {"current_password": "not it at all", "new_password": "quite another password"}
    answer = await person.call("PATCH", "/api/me/password", json=wrong)
    assert (answer.status_code, answer.json()["type"].rsplit(":", 1)[1]) == (403, "wrong-password")
    weak = {"current_password": PASSWORD, "new_password": person.username}
    answer = await person.call("PATCH", "/api/me/password", json=weak)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/new_password"]
    assert await other.statuses() == {200}
    assert (await other.sign_in()).status_code == 200


async def test_guessing_the_present_password_with_a_stolen_token_is_throttled(person: Tab) -> None:
    wrong = {"current_password": "not it at all", "new_password": "quite another password"}
    answers = [(await person.call("PATCH", "/api/me/password", json=wrong)).status_code for _ in range(7)]
    assert answers[:5] == [403] * 5
    assert set(answers[5:]) in ({429}, {403, 429})  # a refusal comes so late that the wait may be over


async def test_a_deleted_account_leaves_nothing_of_the_person(instance: Instance, person: Tab, other: Tab) -> None:
    wrong = await person.call("DELETE", "/api/me", json={"password": "not it"})
    assert wrong.status_code == 403
    id_ = (await person.call("GET", "/api/me")).json()["id"]
    assert (await person.call("DELETE", "/api/me", json={"password": PASSWORD})).status_code == 204
    assert await person.refused()
    assert await other.refused()
    assert (await person.refresh()).status_code == 401
    assert (await person.sign_in()).status_code == 401
    assert await rows(instance, select(users).where(users.c.username == person.username)) == []
    left = await rows(instance, select(sessions))
    assert [row for row in left if str(row.user_id) == id_ and (row.device or row.address or not row.ended_at)] == []
    again = {"username": person.username, "password": PASSWORD}
    assert (await person.http.post("/api/register", json=again)).status_code == 409


async def test_deleting_an_account_is_an_event_after_all_others(instance: Instance, person: Tab) -> None:
    id_ = (await person.call("GET", "/api/me")).json()["id"]
    admin = await instance.admin()
    await person.call("DELETE", "/api/me", json={"password": PASSWORD})
    async with httpx.AsyncClient(base_url=instance.url, timeout=15) as http:
        watcher = Tab(http, "")
        watcher.token = admin["Authorization"].removeprefix("Bearer ")
        deleted, ended = [await of_user(watcher, type_, id_) for type_ in ("user.deleted", "session.ended")]
    assert [event["data"]["reason"] for event in ended] == ["deleted"]
    assert len(deleted) == 1
    assert deleted[0]["occurred_at"] > ended[0]["occurred_at"]


async def of_user(watcher: Tab, type_: str, user_id: str) -> list[dict[str, Any]]:
    """One person's events of a type, as an admin finds them among everybody's, once there is one."""
    for _ in range(200):
        mine = [event for event in await events(watcher, type_) if event["data"]["user_id"] == user_id]
        if mine:
            break
        await asyncio.sleep(0.05)
    return mine


async def test_an_admin_disables_and_enables_an_account(instance: Instance, person: Tab) -> None:
    admin = await instance.admin()
    found = await instance.http.get("/api/users", params={"username": person.username.upper()}, headers=admin)
    user = found.json()["items"][0]
    assert (user["username"], user["role"], user["disabled"]) == (person.username, "user", False)
    path = f"/api/users/{user['id']}"
    for _ in range(2):  # the second changes nothing, and is no event
        assert (await instance.http.patch(path, json={"disabled": True}, headers=admin)).json()["disabled"] is True
    assert await person.refused()
    assert (await person.refresh()).status_code == 401
    assert (await person.sign_in()).status_code == 403
    assert (await person.sign_in("not the password")).status_code == 401
    assert (await instance.http.patch(path, json={"disabled": False}, headers=admin)).status_code == 200
    assert (await person.sign_in()).status_code == 200
    assert len(await events(person, "user.disabled")) == len(await events(person, "user.enabled")) == 1


async def test_a_role_counts_from_the_next_sign_in(instance: Instance, person: Tab) -> None:
    admin = await instance.admin()
    id_ = (await person.call("GET", "/api/me")).json()["id"]
    assert (await person.call("GET", "/api/users")).status_code == 403
    changed = await instance.http.patch(f"/api/users/{id_}", json={"role": "admin"}, headers=admin)
    assert changed.json()["role"] == "admin"
    assert await person.refused()
    await person.sign_in()
    assert (await person.call("GET", "/api/users")).status_code == 200


async def test_the_last_admin_stays(instance: Instance) -> None:
    demoted = {"role": "user", "disabled_at": None}

    async def write(transaction: Any) -> None:
        await transaction.execute(update(users).values(demoted))

    await instance.states["auth"]["accounts"]._database.run_in_transaction(write)
    admin = await instance.admin()
    id_ = (await instance.http.get("/api/me", headers=admin)).json()["id"]
    for change in ({"role": "user"}, {"disabled": True}):
        answer = await instance.http.patch(f"/api/users/{id_}", json=change, headers=admin)
        assert (answer.status_code, answer.json()["type"].rsplit(":", 1)[1]) == (409, "last-admin")
    answer = await instance.http.request("DELETE", "/api/me", json={"password": PASSWORD}, headers=admin)
    assert answer.status_code == 409
    assert (await instance.http.get("/api/users?limit=1", headers=admin)).status_code == 200


async def test_a_change_of_nothing_is_refused(instance: Instance, person: Tab) -> None:
    admin = await instance.admin()
    id_ = (await person.call("GET", "/api/me")).json()["id"]
    bodies: list[object] = [{}, {"disabled": None}, {"role": "king"}, {"disabled": "yes"}, []]
    for body in bodies:
        assert (await instance.http.patch(f"/api/users/{id_}", json=body, headers=admin)).status_code == 422


async def test_a_session_that_could_not_be_told_of_is_told_of_later(instance: Instance, person: Tab) -> None:
    """As when auth is killed between the commit and the telling, or the session ends at the command line."""
    session_id = rotation.RefreshToken.parse(person.cookie).session_id

    async def write(transaction: Any) -> None:
        now = func.current_timestamp()
        await transaction.execute(update(sessions).where(sessions.c.id == session_id).values(ended_at=now))

    await instance.states["auth"]["accounts"]._database.run_in_transaction(write)
    assert await person.refused()


async def test_a_wrong_password_is_in_the_log_also_where_it_is_asked_for_again(person: Tab) -> None:
    wrong = {"current_password": "not it at all", "new_password": "quite another password"}
    assert (await person.call("PATCH", "/api/me/password", json=wrong)).status_code == 403
    assert (await person.call("DELETE", "/api/me", json={"password": "not it"})).status_code == 403
    found = await events(person, "login.failed", 2)
    assert [event["data"]["reason"] for event in found] == ["wrong_credentials"] * 2


async def test_many_changes_of_password_with_one_key_are_one(person: Tab) -> None:
    body = {"current_password": PASSWORD, "new_password": "quite another password"}
    headers = {"Authorization": f"Bearer {person.token}", "Idempotency-Key": secrets.token_hex(8)}
    answers = await asyncio.gather(
        *(person.http.patch("/api/me/password", json=body, headers=headers) for _ in range(20))
    )
    statuses = {answer.status_code for answer in answers}
    assert 204 in statuses
    assert statuses <= {204, 409, 429, 503}
    assert (await person.http.patch("/api/me/password", json=body, headers=headers)).status_code == 204
    assert len(await events(person, "user.password_changed")) == 1


async def test_a_failed_sign_in_is_in_the_persons_own_log(person: Tab) -> None:
    token = person.token
    assert (await person.sign_in("wrong")).status_code == 401
    person.token = token
    found = await events(person, "login.failed")
    assert [event["data"]["reason"] for event in found] == ["wrong_credentials"]
    assert person.username not in str(found[0]["data"])


async def test_no_event_of_the_outbox_is_left_or_parked(instance: Instance) -> None:
    for _ in range(100):
        if not await rows(instance, select(outbox.c.event_id)):
            return
        await asyncio.sleep(0.05)
    pytest.fail("events are left in the outbox")
