"""Admission: so many requests at once, the others in a line, and a refusal for those that wait too long."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from tidings.admission import Admission, admitted, place_given_up
from tidings.http.overload import AdmittingService


class Counted:
    """Counts refusals."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: int) -> None:
        self.total += amount


def places(number: int, wait_seconds: float = 30) -> Admission:
    return Admission(number, Counted(), wait_seconds)


async def until_all_wait() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_requests_get_places_in_the_order_of_their_coming() -> None:
    bound = places(2)
    order: list[int] = []
    ends = [asyncio.Event() for _ in range(5)]

    async def request(number: int) -> None:
        async with admitted(bound) as has_place:
            assert has_place
            order.append(number)
            await ends[number].wait()

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(request(number))
        await until_all_wait()
        assert order == [0, 1]
        for end, expected in ((1, [0, 1, 2]), (0, [0, 1, 2, 3]), (3, [0, 1, 2, 3, 4]), (2, None), (4, None)):
            ends[end].set()
            await until_all_wait()
            assert order == (expected or [0, 1, 2, 3, 4])
    assert bound.taken == 0


async def test_request_without_a_place_in_time_is_refused_and_counted() -> None:
    refused = Counted()
    bound = Admission(1, refused, wait_seconds=0.01)
    async with admitted(bound) as first:
        async with admitted(bound) as second, admitted(bound) as third:
            assert (first, second, third) == (True, False, False)
        assert refused.total == 2
        assert bound.taken == 1
    async with admitted(bound) as later:
        assert later
    assert bound.taken == 0


@pytest.mark.parametrize("turns", range(6))
async def test_request_cancelled_at_any_moment_keeps_no_place(turns: int) -> None:
    bound = places(1)
    leaving = asyncio.Event()

    async def hold() -> None:
        async with admitted(bound):
            await leaving.wait()

    async def enter() -> None:
        async with admitted(bound):
            await asyncio.sleep(0)

    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(hold())
        waiting, next_one = group.create_task(enter()), group.create_task(enter())
        await until_all_wait()
        leaving.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait_for(next_one, 5)
    assert bound.taken == 0


async def test_place_is_anothers_while_its_request_waits_for_something_else() -> None:
    bound = places(1)
    hashed = asyncio.Event()

    async def login() -> None:
        async with admitted(bound), place_given_up():
            await hashed.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(login())
        await until_all_wait()
        async with admitted(bound) as has_place:
            assert has_place
            hashed.set()
            await until_all_wait()
            assert bound.taken == 1  # the login has ended, and gave no place to anybody that was not free
    assert bound.taken == 0


async def test_places_stay_bounded_after_requests_came_back_to_theirs() -> None:
    bound = places(1)
    hashed, working = asyncio.Event(), asyncio.Event()
    at_work = most = 0

    async def work() -> None:
        nonlocal at_work, most
        async with admitted(bound):
            at_work += 1
            most = max(most, at_work)
            await working.wait()
            await asyncio.sleep(0)
            at_work -= 1

    async def login() -> None:
        async with admitted(bound):
            async with place_given_up():
                await hashed.wait()
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(login())
        await until_all_wait()
        for _ in range(5):
            group.create_task(work())
        await until_all_wait()
        hashed.set()
        working.set()
    assert most == 1
    assert bound.taken == 0


async def test_place_given_up_outside_a_request_does_nothing() -> None:
    async with place_given_up():
        pass


async def test_a_refusal_is_logged_with_the_setting_that_bounds_requests(caplog: pytest.LogCaptureFixture) -> None:
    bound = places(1, 0.001)
    async with admitted(bound):
        assert not await bound.enter()
        assert not await bound.enter()
    [line] = caplog.messages
    assert line.startswith("too busy: ")
    assert "TIDINGS_HTTP_MAX_REQUESTS" in line


class Parsed:
    """A service that notes what it reads, and answers when it is told to."""

    def __init__(self, bound: Admission) -> None:
        self.seen: list[str] = []
        self.go_on = asyncio.Event()
        self.app = AdmittingService(admission=bound, openapi_url=None, docs_url=None, redoc_url=None)

        @self.app.middleware("http")
        async def see(request: Any, call_next: Any) -> Any:
            self.seen.append(f"{request.method} {request.url.path}")
            return await call_next(request)

        @self.app.get("/slow")
        async def slow() -> str:
            await self.go_on.wait()
            return "done"

        @self.app.post("/body")
        async def length(request: Request) -> int:
            return len(await request.body())

        for path in ("/health/live", "/health/ready", "/metrics"):
            self.app.get(path)(lambda: "well")

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://tidings.test") as client:
            yield client


async def test_slow_body_takes_no_place() -> None:
    sent = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x"
        await sent.wait()
        yield b"y"

    service = Parsed(places(1, 0.01))
    async with service.client() as http, asyncio.TaskGroup() as group:
        slow = [group.create_task(http.post("/body", content=slowly())) for _ in range(3)]
        await until_all_wait()
        assert (await http.post("/body", content=b"quick")).text == "5"
        sent.set()
        assert (await slow[0]).text == "101"


async def test_body_over_the_limit_reaches_the_application_as_far_as_it_was_received() -> None:
    app = AdmittingService(admission=places(1), max_body=10, openapi_url=None)
    seen: list[int] = []

    @app.post("/body")
    async def lengths(request: Request) -> None:
        seen.extend([len(part) async for part in request.stream()])

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"four"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tidings.test") as http:
        assert (await http.post("/body", content=parts())).status_code == 200
    assert (seen[0], sum(seen)) == (12, 20)


async def test_application_learns_of_a_client_that_goes_away_within_its_body() -> None:
    app = AdmittingService(admission=places(1), openapi_url=None)
    seen: list[str] = []

    @app.post("/body")
    async def read(request: Request) -> None:
        try:
            await request.body()
        except ClientDisconnect:
            seen.append("disconnected")
            raise

    messages = [{"type": "http.request", "body": b"half", "more_body": True}]

    async def receive() -> Any:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    headers = [(b"content-length", b"9")]
    scope = {"type": "http", "method": "POST", "path": "/body", "query_string": b"", "headers": headers}
    with contextlib.suppress(ClientDisconnect):
        await app(scope, receive, send)
    assert seen == ["disconnected"]


async def test_refused_request_is_a_503_and_nothing_of_it_is_looked_at() -> None:
    service = Parsed(places(1, 0.01))
    async with service.client() as http, asyncio.TaskGroup() as group:
        slow = group.create_task(http.get("/slow"))
        await until_all_wait()
        for method, path, quoted in (("POST", "/slow", "/slow"), ("GET", "/%EB%AF%BC?x=1", "/%EB%AF%BC")):
            answer = await http.request(method, path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["x-request-id"]
            problem = answer.json()
            assert (problem["type"], problem["instance"]) == ("urn:tidings:problem:overloaded", quoted)
        head = await http.head("/slow")
        assert (head.status_code, head.content) == (503, b"")
        assert service.seen == ["GET /slow"]
        service.go_on.set()
        assert (await slow).json() == "done"


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
async def test_what_operators_ask_is_answered_while_all_places_are_taken(path: str) -> None:
    service = Parsed(places(1, 0.01))
    async with service.client() as http, asyncio.TaskGroup() as group:
        group.create_task(http.get("/slow"))
        await until_all_wait()
        assert (await http.get(path)).status_code == 200
        assert (await http.get(f"{path}/")).status_code == 503
        service.go_on.set()
