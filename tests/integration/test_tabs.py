"""Tabs: what several clients of one session do at the same time, and what they do when an answer is lost."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import httpx
import pytest
import pytest_asyncio

from support.instance import Instance, running_instance
from support.tab import COOKIE, Tab, newcomer
from support.told import events_of
from tidings_auth import rotation
from tidings_local.backends import Backends

EACH = 25
"""Trials of each session: two rotations at most for each, within what one session may have in half a minute."""
AT_ONCE = 8
"""Sessions that are at it at the same time."""
APART_SECONDS = 0.05

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def instance(shared_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """One instance for all tests of this module."""
    async with running_instance(shared_backends, tmp_path_factory.mktemp("instance")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def person(instance: Instance) -> AsyncIterator[Tab]:
    """Somebody who registered and signed in."""
    async with httpx.AsyncClient(base_url=instance.url, timeout=15) as http:
        yield await newcomer(http)


class Window:
    """Two tabs of one browser: they share its jar."""

    def __init__(self, tab: Tab) -> None:
        self.tabs = (tab, Tab(tab.http, tab.username))
        self.busy = 0
        """How often the answer was that the service is too busy; then the tab asks again."""

    async def refresh_both(self, turns: asyncio.Semaphore) -> set[int]:
        """Have both refresh within a moment of each other, `EACH` times; return what they were answered."""
        statuses: set[int] = set()
        for _ in range(EACH):
            async with turns:
                statuses.update(await asyncio.gather(*(self._refresh(tab) for tab in self.tabs)))
        return statuses

    async def _refresh(self, tab: Tab) -> int:
        await asyncio.sleep(random.uniform(0, APART_SECONDS))
        while (answer := await tab.refresh()).status_code == 503:
            self.busy += 1
        return answer.status_code


@pytest.mark.timeout(300)
@pytest.mark.parametrize("trials", [100, pytest.param(1_000, marks=pytest.mark.thorough)])
async def test_two_tabs_that_refresh_at_the_same_time_stay_signed_in(
    instance: Instance,
    shared_backends: Backends,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    trials: int,
) -> None:
    async with AsyncExitStack() as stack:
        windows: list[Window] = []
        for _ in range(trials // EACH):
            tab = await newcomer(await stack.enter_async_context(_browser(instance)))
            windows.append(Window(tab))
        turns = asyncio.Semaphore(AT_ONCE)
        started = time.monotonic()
        statuses = await asyncio.gather(*(window.refresh_both(turns) for window in windows))
        record_property("seconds", round(time.monotonic() - started, 1))
        record_property("busy", sum(window.busy for window in windows))
        assert statuses == [{200}] * len(windows)
        for window in windows:
            assert [await tab.statuses() for tab in window.tabs] == [{200}, {200}]

        monkeypatch.setattr(rotation, "GRACE", -rotation.GRACE)  # the jars hold the newest, not one that is led to it
        assert {(await window.tabs[0].refresh()).status_code for window in windows} == {200}
        people = {window.tabs[0].username for window in windows}
    for type_ in ("session.ended", "session.reuse_detected"):
        assert await events_of(instance, shared_backends.kafka, people, type_) == []
    assert len(await events_of(instance, shared_backends.kafka, people, "session.started")) == len(windows)


async def test_a_stolen_cookie_that_comes_many_times_ends_the_session_once(
    instance: Instance, shared_backends: Backends, person: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    stolen = person.cookie
    assert (await person.refresh()).status_code == 200
    monkeypatch.setattr(rotation, "GRACE", -rotation.GRACE)
    async with _browser(instance) as http:
        thief = Tab(http, person.username)
        answers = await asyncio.gather(*(thief.refresh(stolen) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {401}
        assert {answer.json()["type"].rsplit(":", 1)[1] for answer in answers} == {"session-over"}
    assert (await person.refresh()).status_code == 401
    assert await person.refused()
    people = [person.username]
    assert len(await events_of(instance, shared_backends.kafka, people, "session.reuse_detected")) == 1
    ended = await events_of(instance, shared_backends.kafka, people, "session.ended")
    assert [data["reason"] for data in ended] == ["reuse"]


async def test_a_client_that_lost_many_answers_goes_on_with_the_cookie_that_it_has(
    instance: Instance, shared_backends: Backends, person: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = person.cookie
    async with _browser(instance) as http:  # whose jar takes the answers that the person does not see
        for _ in range(5):
            assert (await Tab(http, person.username).refresh(kept)).status_code == 200
    assert (await person.refresh(kept)).status_code == 200
    assert person.cookie != kept
    monkeypatch.setattr(rotation, "GRACE", -rotation.GRACE)
    assert (await person.refresh()).status_code == 200
    assert await events_of(instance, shared_backends.kafka, [person.username], "session.reuse_detected") == []


async def test_fifty_refreshes_at_once_are_one_rotation(instance: Instance, person: Tab) -> None:
    answers = await asyncio.gather(*(person.refresh(person.cookie) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    cookies = {line.split(";")[0] for answer in answers for line in answer.headers.get_list("set-cookie")}
    assert cookies == {f"{COOKIE}={person.cookie}"}
    assert await person.statuses() == {200}
    assert (await person.refresh()).status_code == 200


def _browser(instance: Instance) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=instance.url, timeout=30)
