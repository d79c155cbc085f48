"""One host with a wrong clock: what belongs to all replicas does not depend on it, and the replica is not ready.

The clock is moved for one process, by Debian's `faketime`. Its monotonic clock stays right, as that of a real host
whose time is set wrongly.
"""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Table, func, insert, select

from support.servers import RealServers, require
from support.system import Process, System, real_system
from support.tab import OURS, PLACES, Tab, newcomer
from tidings.database.engine import create_engine
from tidings.database.settings import DatabaseSettings
from tidings.database.transactions import Database, Transaction
from tidings_auth.tables import sessions
from tidings_local.servers.ports import free_port
from tidings_messages.tables import idempotency_keys

pytestmark = [pytest.mark.real, pytest.mark.serial, pytest.mark.timeout(300)]

REFUSED = 5.0
"""Seconds within which all services refuse an ended session; promised."""


@pytest.fixture(scope="module")
def system(servers: RealServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that these tests add replicas to."""
    require("faketime")
    with real_system(tmp_path_factory.mktemp("clocks"), servers, {}) as running:
        yield running


def moved_clock(moved: str) -> dict[str, str]:
    """Return the environment of a process whose clock is moved.

    `faketime` itself sets it, but starts the process as a child, which goes on living when `faketime` is ended.
    """
    shown = subprocess.run(["faketime", "-f", moved, "env"], capture_output=True, text=True, check=True).stdout
    environment = dict(line.split("=", 1) for line in shown.splitlines())
    chosen = {name: environment[name] for name in ("LD_PRELOAD", "FAKETIME")}
    return chosen | {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}


@contextmanager
def replica_with_clock(system: System, name: str, moved: str) -> Iterator[Process]:
    """Run another replica of a service, whose clock is moved by e.g. `+5m`."""
    original = system.processes[name]
    port = free_port()
    replica = replace(
        original,
        name=f"{name} {moved}",
        environment=original.environment
        | {"TIDINGS_HTTP_PORT": str(port), "TIDINGS_HTTP_MANAGEMENT_PORT": str(free_port())}
        | moved_clock(moved),
        url=f"http://127.0.0.1:{port}",
        log=original.log.with_name(f"{name}-{uuid4().hex[:8]}.log"),
        running=None,
    )
    replica.start()
    try:
        yield replica
    finally:
        assert replica.running
        if replica.running.poll() is None:
            replica.stop()


@asynccontextmanager
async def database_of(process: Process) -> AsyncIterator[Database]:
    engine = create_engine(DatabaseSettings(url=process.environment["TIDINGS_DATABASE_URL"]))
    try:
        yield Database(engine, 10)
    finally:
        await engine.dispose()


async def insert_row(database: Database, table: Table, row: dict[str, Any]) -> None:
    async def write(transaction: Transaction) -> None:
        await transaction.execute(insert(table).values(row))

    await database.run_in_transaction(write)


async def until_gone(database: Database, table: Table, key: Any) -> None:
    """Wait until a row that has expired by every clock is removed: then a removal has run."""
    statement = select(func.count()).select_from(table).where(table.c.id == key)
    async with asyncio.timeout(30):
        while await database.read(lambda connection: _scalar(connection, statement)):  # noqa: ASYNC110  # sets no event
            await asyncio.sleep(0.05)


async def _scalar(connection: Any, statement: Any) -> Any:
    return (await connection.execute(statement)).scalar_one()


async def until_refused(tab: Tab) -> None:
    """Wait until all services refuse the tab's access token, at most as long as is promised."""
    end = time.monotonic() + REFUSED
    while {(await tab.call("GET", path)).status_code for path in PLACES} != {401}:
        assert time.monotonic() < end, "a service still accepts the token"
        await asyncio.sleep(0.02)


async def log_out_at(replica: Process, tab: Tab) -> None:
    """Sign out at one replica, as a load balancer may send it there."""
    headers = OURS | {"Cookie": f"tidings_refresh={tab.cookie}"}
    async with httpx.AsyncClient(base_url=replica.url) as http:
        assert (await http.post("/api/logout", headers=headers)).status_code == 204


async def test_sessions_end_after_a_logout_at_a_replica_whose_clock_is_ahead(system: System) -> None:
    async with system.browser() as one, system.browser() as two, system.browser() as three:
        first, second, third = [await newcomer(http) for http in (one, two, three)]
        with replica_with_clock(system, "auth", "+5m") as replica:
            await log_out_at(replica, first)
            await until_refused(first)
        change = {"current_password": "a password that nobody else has", "new_password": "quite another password"}
        async with system.browser() as fourth:
            other = Tab(fourth, second.username)
            assert (await other.sign_in()).status_code == 200
            assert (await second.call("PATCH", "/api/me/password", json=change)).status_code == 204
            await until_refused(other)
        await end_all_by_command(system, third.username)
        await until_refused(third)


@pytest.mark.parametrize("moved", ["+10m", "-10m"])
async def test_sessions_end_by_a_command_on_a_host_with_a_wrong_clock(system: System, moved: str) -> None:
    async with system.browser() as http:
        person = await newcomer(http)
        await end_all_by_command(system, person.username, moved_clock(moved))
        await until_refused(person)


async def end_all_by_command(system: System, username: str, clock: Mapping[str, str] = MappingProxyType({})) -> None:
    """End all sessions as an operator does: no service is told by the command."""
    auth = system.processes["auth"]
    command = await asyncio.create_subprocess_exec(
        *auth.command[:-1], "sessions", username, "--end-all", env={**os.environ, **auth.environment, **clock}
    )
    assert await command.wait() == 0


async def test_a_session_stays_when_a_replica_is_31_days_ahead(system: System) -> None:
    async with system.browser() as http, database_of(system.processes["auth"]) as database:
        person = await newcomer(http)
        long_ago = datetime.now(UTC) - timedelta(days=90)
        expired = {
            "id": uuid4(),
            "user_id": uuid4(),
            "token_family": "0" * 64,
            "created_at": long_ago,
            "last_seen_at": long_ago,
            "expires_at": long_ago,
        }
        with replica_with_clock(system, "auth", "+31d"):
            await insert_row(database, sessions, expired)
            await until_gone(database, sessions, expired["id"])
        assert (await person.refresh()).status_code == 200
        assert (await person.call("GET", "/api/sessions")).json()["items"]


async def test_an_idempotency_key_stays_when_a_replica_is_25_hours_ahead(system: System) -> None:
    async with system.browser() as http, database_of(system.processes["messages"]) as database:
        person = await newcomer(http)
        key = {"Idempotency-Key": uuid4().hex, "Authorization": f"Bearer {person.token}"}
        first = await http.post("/api/messages", json={"message": "once"}, headers=key)
        expired = {
            "id": uuid4().bytes * 2,
            "fingerprint": b"0" * 32,
            "created_at": datetime.now(UTC) - timedelta(days=90),
            "answer": None,
        }
        await insert_row(database, idempotency_keys, expired)
        with replica_with_clock(system, "messages", "+25h") as replica:
            await until_gone(database, idempotency_keys, expired["id"])
            assert replica.running
        again = await http.post("/api/messages", json={"message": "once"}, headers=key)
        assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
        assert again.headers["idempotent-replayed"] == "true"


# An auth whose clock is behind the moment when its signing key was made does not even start.
@pytest.mark.parametrize(
    ("name", "moved"), [("auth", "+10m"), ("messages", "+10m"), ("messages", "-10m"), ("logs", "-10m")]
)
async def test_a_replica_with_a_wrong_clock_is_not_ready(system: System, name: str, moved: str) -> None:
    with replica_with_clock(system, name, moved) as replica:
        async with httpx.AsyncClient(base_url=replica.url) as http:
            answer = await http.get("/health/ready")
        dependencies = answer.json()["dependencies"]
        assert (answer.status_code, dependencies["clock"]["ok"]) == (503, False)
        assert dependencies["database"]["ok"]
    direction = "ahead of" if moved.startswith("+") else "behind"
    assert f"s {direction} the database's" in replica.output()
