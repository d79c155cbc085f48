"""Rolling restarts: behind a balancer that keeps connections, no request fails while its replicas restart."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest

from support.balancer import Balancer, balancer
from support.bare import PARSERS, Replica
from support.client import eventually
from support.system import Process
from tidings.connections import Parser
from tidings.http.settings import HttpSettings
from tidings_local.servers.ports import free_port

pytestmark = pytest.mark.serial

CLIENTS = 16
REQUESTS = int(os.environ.get("TIDINGS_TEST_RESTART_REQUESTS", "1000"))
"""The fewest requests; 10000 for the long form."""


async def ask_while_restarting(
    front: Balancer, restarts: Sequence[Callable[[], None]], targets: list[str], requests: int
) -> list[int]:
    """Ask through the balancer while the replicas restart in turn; return the statuses of at least so many answers.

    Restarts begin again with the first one until there are so many.
    """
    statuses: list[int] = []
    done = asyncio.Event()

    async def client(number: int) -> None:
        while not done.is_set():
            statuses.append(await front.ask(targets[(number + len(statuses)) % len(targets)]))

    clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
    try:
        while len(statuses) < requests and not front.failed:
            for restart in restarts:
                await asyncio.to_thread(restart)
    finally:
        done.set()
        await asyncio.gather(*clients)
    return statuses


@pytest.mark.parametrize("parser", PARSERS)
async def test_restarts_fail_no_request_of_kept_connections(parser: Parser) -> None:
    replicas = [Replica(parser, HttpSettings(drain_seconds=1)) for _ in range(2)]
    restarts = [act for replica in replicas for act in (replica.stop, replica.start)]
    try:
        async with balancer(*(replica.port for replica in replicas)) as front:
            statuses = await ask_while_restarting(front, restarts, ["/fast", "/slow"], REQUESTS)
    finally:
        for replica in replicas:
            replica.stop()
    assert front.failed == []
    assert set(statuses) == {200}
    assert front.closed_after > 0


def process(folder: Path, name: str, command: list[str], environment: dict[str, str], port: int) -> Process:
    """Return a process of this project, not started yet."""
    return Process(name, [sys.executable, "-m", *command], environment, f"http://127.0.0.1:{port}", folder / name)


async def test_restarts_of_a_service_fail_no_request(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    environment = {
        "TIDINGS_ENVIRONMENT": "development",
        "TIDINGS_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/service.db",
        "TIDINGS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "TIDINGS_REDIS_URL": "redis://127.0.0.1:9/0",
        "TIDINGS_TOKENS_JWKS_URL": "http://127.0.0.1:9/.well-known/jwks.json",
        "TIDINGS_ACTIVITY_ADDRESS_KEY": "0123456789abcdef",
        "TIDINGS_HTTP_DRAIN_SECONDS": "0.5",
    }
    replicas = [
        process(
            tmp_path, f"{port}", ["tidings_messages", "serve"], environment | {"TIDINGS_HTTP_PORT": f"{port}"}, port
        )
        for port in ports
    ]
    for replica in replicas:
        replica.launch()
    codes: list[int] = []
    try:
        for replica in replicas:
            replica.wait_until_alive(90)
        first, second = replicas
        restarts = [lambda: codes.append(first.stop()), first.start, lambda: codes.append(second.stop())]
        async with balancer(*ports) as front:
            statuses = await ask_while_restarting(front, restarts, ["/health/live", "/api/messages"], 1)
    finally:
        for replica in replicas:
            if replica.running and replica.running.poll() is None:
                replica.stop()
    assert codes == [0, 0]
    assert front.closed_after > 0
    assert front.failed == []
    assert set(statuses) == {200, 401}


@pytest.mark.parametrize("parser", PARSERS)
def test_draining_replica_answers_but_is_not_ready(tmp_path: Path, parser: Parser) -> None:
    port = free_port()
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    replica = process(tmp_path, "replica", ["support.bare", f"{port}", parser, "60"], environment, port)
    replica.start()
    with httpx.Client(base_url=replica.url) as client:
        assert "connection" not in client.get("/fast").headers
        replica.signal(signal.SIGTERM)
        try:
            eventually(lambda: httpx.get(f"{replica.url}/health/ready").status_code, lambda status: status == 503)
            on_kept_connection = client.get("/fast")
            on_new_connection = httpx.get(f"{replica.url}/fast")
            for answer in (on_kept_connection, on_new_connection):
                assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        finally:
            assert replica.stop() == 0  # a second signal ends the waiting
