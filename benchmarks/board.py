"""The board: the whole system, used through its API by one person on many connections."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from benchmarks.measure import Sample, latencies
from benchmarks.setting import SAMPLED, Setting
from support.client import Person
from support.system import System, real_system

CONNECTIONS = 16
CAPACITY_SECONDS = 3.0
PROBES = 100
POLL_SECONDS = 0.005
GIVE_UP_SECONDS = 60.0
ENVIRONMENT = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(SAMPLED)}


class Board:
    """The API of one system, as one person uses it from many connections.

    Args:
        system: runs.
        http: takes whole URLs.
    """

    def __init__(self, system: System, http: httpx.AsyncClient) -> None:
        messages = system.processes["messages"]
        self.posts = f"{messages.url}/api/messages"
        self.liveness = f"http://127.0.0.1:{messages.environment['TIDINGS_HTTP_MANAGEMENT_PORT']}/health/live"
        self._messages = messages
        self._log = f"{system.processes['logs'].url}/api/logs"
        self._http = http
        self.auth = system.processes["auth"].url
        self.token = http.headers["Authorization"].removeprefix("Bearer ")

    async def post(self) -> str:
        """Post, and return the trace id."""
        answer = await self._http.post(self.posts, json={"message": "how long until this is in the log?"})
        assert answer.status_code == 201, answer.text
        trace_id: str = answer.json()["trace_id"]
        return trace_id

    def memory(self) -> int:
        """Return the memory of the messages service, KiB; on Linux only."""
        assert self._messages.running
        status = Path(f"/proc/{self._messages.running.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0])

    async def me(self) -> None:
        """Ask auth who the caller is."""
        answer = await self._http.get(f"{self.auth}/api/me")
        assert answer.status_code == 200, answer.text

    async def is_visible(self, trace_id: str) -> bool:
        """Tell whether the post's event is in the log."""
        parameters = {"trace_id": trace_id, "type": "message.created", "limit": "1"}
        answer = await self._http.get(self._log, params=parameters)
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["items"])

    async def until_visible(self) -> float:
        """Post, and return the seconds from the call until the log has it."""
        start = time.perf_counter()
        trace_id = await self.post()
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while not await self.is_visible(trace_id):  # noqa: ASYNC110  # another process has it
                await asyncio.sleep(POLL_SECONDS)
        return time.perf_counter() - start


@asynccontextmanager
async def open_board(setting: Setting) -> AsyncIterator[Board]:
    """Start the whole system, and sign somebody in."""
    # The system is started by a thread: its migrations bring an event loop of their own.
    running = real_system(setting.folder, setting.servers, ENVIRONMENT)
    system = await asyncio.to_thread(running.__enter__)
    try:
        async with _signed_in(system) as http:
            yield Board(system, http)
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


async def capacity(board: Board, setting: Setting) -> float:
    """Return roughly how many posts a second the system and this client manage together."""
    seconds = 0.3 if setting.quick else CAPACITY_SECONDS
    end = time.perf_counter() + seconds
    posted = 0

    async def post_on() -> None:
        nonlocal posted
        while time.perf_counter() < end:
            await board.post()
            posted += 1

    await asyncio.gather(*(post_on() for _ in range(CONNECTIONS)))
    return posted / seconds


@asynccontextmanager
async def loaded(board: Board, load: float) -> AsyncIterator[None]:
    """Keep posting `load` times a second, whether or not the earlier posts are answered."""

    async def keep_posting() -> None:
        async with asyncio.TaskGroup() as posts:
            due = time.perf_counter()
            while True:
                posts.create_task(board.post())
                due += 1 / load
                await asyncio.sleep(max(0.0, due - time.perf_counter()))

    posting = asyncio.create_task(keep_posting())
    try:
        yield
    finally:
        posting.cancel()
        await asyncio.wait([posting])


async def probed(probe: Callable[[], Awaitable[float]], setting: Setting, probes: int = PROBES) -> Sample:
    """Return the times of many probes, one after another, ms."""
    times = [await probe() for _ in range(5 if setting.quick else probes)]
    return latencies(times, 1e-3)


@asynccontextmanager
async def _signed_in(system: System) -> AsyncIterator[httpx.AsyncClient]:
    def sign_in() -> Person:
        with system.client() as client:
            return Person(client)

    person = await asyncio.to_thread(sign_in)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=CONNECTIONS * 4)
    async with httpx.AsyncClient(headers=person.headers, limits=limits, timeout=15, trust_env=False) as http:
        yield http
