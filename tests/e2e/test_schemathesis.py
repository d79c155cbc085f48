"""Schemathesis makes requests from the API documents, valid ones and others: all are answered as the documents say."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import update

from support.documents import NAMES
from support.fuzzed_api import PASSWORD
from support.servers import RealServers
from support.system import System, embedded_system, real_system
from tidings.database.engine import create_engine
from tidings.database.settings import DatabaseSettings
from tidings_auth.tables import users

TESTS = Path(__file__).parents[1]
CONFIG = TESTS / "support" / "schemathesis.toml"
ADMIN = "boss"
# Each call says which address it comes from, as a proxy would: see support/fuzzed_api.py.
ENVIRONMENT = {"TIDINGS_HTTP_TRUSTED_HOPS": "1"}
QUICK = ["--phases", "examples,coverage,fuzzing"]
THOROUGH = ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "300"]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("schemathesis")
    with embedded_system(folder, ENVIRONMENT) as system:
        make_admin(system, f"sqlite+aiosqlite:///{folder}/var/auth.db")
        yield system


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, servers: RealServers) -> Iterator[System]:
    with real_system(tmp_path_factory.mktemp("schemathesis-real"), servers, ENVIRONMENT) as system:
        make_admin(system, system.processes["auth"].environment["TIDINGS_DATABASE_URL"])
        yield system


def make_admin(system: System, database: str) -> None:
    """Make an account and give it the role."""
    credentials = {"username": ADMIN, "password": PASSWORD}
    httpx.post(system.url_of("/api/register") + "/api/register", json=credentials).raise_for_status()

    async def promote() -> None:
        engine = create_engine(DatabaseSettings(url=SecretStr(database)))
        async with engine.begin() as connection:
            await connection.execute(update(users).where(users.c.username == ADMIN).values(role="admin"))
        await engine.dispose()

    asyncio.run(promote())


def schemathesis(system: System, name: str, *options: str) -> None:
    """Try the document of one service; fail with what Schemathesis says."""
    document = f"/openapi/{name}.json"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", *options]
    ran = subprocess.run(
        [*command, system.url_of(document) + document],
        env=os.environ
        | {"PYTHONPATH": str(TESTS), "FUZZED_AUTH_URL": system.url_of("/api/login"), "FUZZED_ADMIN": ADMIN},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Selected: " in ran.stdout


@pytest.mark.timeout(600)  # some 30 s on a quiet machine
@pytest.mark.parametrize("name", NAMES)
def test_calls_are_answered_as_documented(embedded: System, name: str) -> None:
    schemathesis(embedded, name, *QUICK)


@pytest.mark.thorough
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_many_calls_in_any_order_are_answered_as_documented(embedded: System, name: str) -> None:
    schemathesis(embedded, name, *THOROUGH)


@pytest.mark.thorough
@pytest.mark.real
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_calls_on_real_servers_are_answered_as_documented(real: System, name: str) -> None:
    schemathesis(real, name, *THOROUGH)
