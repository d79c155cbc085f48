"""The end of a session: every service, each a process of its own, refuses its access token soon, however it ended."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from support.instance import PASSWORD
from support.servers import RealServers
from support.system import System, real_system
from support.tab import OURS, PLACES, Tab, newcomer
from tidings_auth.rotation import GRACE, RefreshToken

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

TRIALS = [5, pytest.param(50, marks=pytest.mark.thorough)]
"""How often each kind of end is tried."""
AT_ONCE = 4
REFUSED = 5.0
"""Seconds within which all services refuse; promised."""

End = Callable[[], Awaitable[httpx.Response]]


@pytest.fixture(scope="module")
def system(servers: RealServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that a test may kill parts of."""
    with real_system(tmp_path_factory.mktemp("ends"), servers, {}) as running:
        yield running


@pytest.fixture
async def person(system: System) -> AsyncIterator[Tab]:
    """Somebody who registered and signed in."""
    async with system.browser() as http:
        yield await newcomer(http)


def command(system: System, *words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a command of auth as an operator does, and wait for its end."""
    auth = system.processes["auth"]
    return subprocess.run(
        [*auth.command[:-1], *words],
        env=os.environ | auth.environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def managed(system: System, *words: str, given: str = "") -> str:
    """Run a command that must succeed, and return what it printed."""
    ended = await asyncio.to_thread(command, system, *words, given=given)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.strip()


async def seconds_until_refused(tab: Tab, end: End, status: int) -> float:
    """End a session; return how long after the call was made the last of the services refuses its token."""

    async def refused(path: str) -> None:
        while (await tab.call("GET", path)).status_code != 401:
            assert time.monotonic() - started < 2 * REFUSED, f"{path} still takes the token"

    started = time.monotonic()
    assert (await end()).status_code == status
    await asyncio.gather(*(refused(path) for path in PLACES))
    return time.monotonic() - started


async def tabs_of(stack: AsyncExitStack, system: System, count: int, username: str | None = None) -> list[Tab]:
    """Sign somebody in so many times, each on a device of its own."""
    tabs = [await newcomer(await stack.enter_async_context(system.browser()), username)]
    for _ in range(count - 1):
        tab = Tab(await stack.enter_async_context(system.browser()), tabs[0].username)
        assert (await tab.sign_in()).status_code == 200
        tabs.append(tab)
    return tabs


@pytest.mark.parametrize("count", TRIALS)
async def test_however_a_session_ends_all_services_refuse_it_soon(
    system: System, count: int, record_property: Callable[[str, object], None]
) -> None:
    admin_name = f"boss-{count}"
    await managed(system, "create-admin", admin_name, "--password-file", "-", given=PASSWORD)
    async with AsyncExitStack() as stack:
        admin = Tab(await stack.enter_async_context(system.browser()), admin_name)
        assert (await admin.sign_in()).status_code == 200

        robbed = await tabs_of(stack, system, count)
        stolen = [tab.cookie for tab in robbed]
        for tab in robbed:
            assert (await tab.refresh()).status_code == 200
        spent = time.monotonic()

        leaving = await tabs_of(stack, system, count)
        banned = [(await tabs_of(stack, system, 1))[0] for _ in range(count)]
        ids = [(await tab.call("GET", "/api/me")).json()["id"] for tab in banned]
        pairs = [await tabs_of(stack, system, 2) for _ in range(count)]
        change = {"current_password": PASSWORD, "new_password": "quite another password"}

        def logout(tab: Tab) -> End:
            return lambda: tab.http.post("/api/logout", headers=OURS)

        def disable(id_: str) -> End:
            return lambda: admin.call("PATCH", f"/api/users/{id_}", json={"disabled": True})

        def change_password(tab: Tab) -> End:
            return lambda: tab.call("PATCH", "/api/me/password", json=change)

        def reuse(tab: Tab, cookie: str) -> End:
            return lambda: tab.refresh(cookie)

        trials: dict[str, list[tuple[Tab, End, int]]] = {
            "logout": [(tab, logout(tab), 204) for tab in leaving],
            "disable": [(tab, disable(id_), 200) for tab, id_ in zip(banned, ids, strict=True)],
            "password": [(other, change_password(tab), 204) for tab, other in pairs],
            "reuse": [(tab, reuse(tab, cookie), 401) for tab, cookie in zip(robbed, stolen, strict=True)],
        }
        took: dict[str, list[float]] = {}
        turns = asyncio.Semaphore(AT_ONCE)

        async def trial(tab: Tab, end: End, status: int) -> float:
            async with turns:
                return await seconds_until_refused(tab, end, status)

        for kind, of_kind in trials.items():
            if kind == "reuse":
                await asyncio.sleep(max(0, GRACE.total_seconds() + 1 - (time.monotonic() - spent)))
            took[kind] = sorted(await asyncio.gather(*(trial(*one) for one in of_kind)))
        assert [await tab.statuses() for tab, _ in pairs] == [{200}] * count

    took["all"] = sorted(seconds for of_kind in took.values() for seconds in of_kind)
    for kind, seconds in took.items():
        trials_made = len(seconds)
        p50, p99, most = (round(seconds[at], 3) for at in (trials_made // 2, trials_made * 99 // 100, -1))
        record_property(f"refused after {kind}", f"{trials_made} trials: p50 {p50} s, p99 {p99} s, max {most} s")
    assert took["all"][len(took["all"]) * 99 // 100] < REFUSED


async def test_a_session_that_ends_while_auth_is_dead_is_refused_when_it_is_back(system: System, person: Tab) -> None:
    auth = system.processes["auth"]
    auth.kill()
    session_id = str(RefreshToken.parse(person.cookie).session_id)
    assert await managed(system, "sessions", person.username, "--end", session_id) == "1 session ended"
    for path in PLACES[1:]:
        assert (await person.call("GET", path)).status_code == 200
    await asyncio.to_thread(auth.start)
    assert await person.refused(REFUSED)


async def test_an_auth_that_dies_between_the_commit_and_the_telling_tells_when_it_is_back(
    system: System, servers: RealServers, person: Tab
) -> None:
    auth = system.processes["auth"]
    servers.redis.pause()
    try:
        assert (await person.call("POST", "/api/logout")).status_code == 503
        auth.kill()
        assert (await person.call("GET", "/api/messages")).status_code == 200
    finally:
        servers.redis.resume()
    await asyncio.to_thread(auth.start)
    assert await person.refused(REFUSED)
    assert (await person.refresh()).status_code == 401


@pytest.mark.parametrize("words", [["disable", "{name}"], ["sessions", "{name}", "--end-all"]], ids=" ".join)
async def test_what_an_operator_ends_is_refused_within_seconds(system: System, person: Tab, words: list[str]) -> None:
    assert await person.statuses() == {200}
    await managed(system, *(word.format(name=person.username) for word in words))
    assert await person.refused(REFUSED)
    assert (await person.refresh()).status_code == 401


async def test_the_password_of_an_admin_is_seen_by_nobody(system: System, tmp_path: Path) -> None:
    secret = "canary-of-the-first-admin"
    file = tmp_path / "password"
    file.write_text(f"{secret}\n", encoding="utf-8")
    asked = await asyncio.to_thread(command, system, "create-admin", "chief", "--password-file", str(file))
    assert secret not in " ".join(asked.args) + asked.stdout + asked.stderr + system.output()
    async with system.browser() as http:
        chief = Tab(http, "chief")
        assert (await chief.sign_in(secret)).status_code == 200
        assert (await chief.call("GET", "/api/users")).status_code == 200
        assert secret not in system.output()
