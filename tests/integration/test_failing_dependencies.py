"""Dependencies that fail: what health and log say of each, for every service, holds no part of a secret setting."""

import asyncio
import io
import json
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

import tidings_auth.app
import tidings_log_consumer.app
import tidings_messages.app
from support.logged import logged
from support.servers import RealServers
from tidings.settings import load
from tidings_auth.settings import AuthSettings
from tidings_local.servers.ports import free_port
from tidings_log_consumer.settings import LogSettings
from tidings_messages.settings import MessagesSettings
from unit.fakes import client

CANARY = "canary'\"\\Ö @:/?#%47quokka-wombat"
ENCODED = urllib.parse.quote(CANARY, safe="")
MANAGEMENT_PORT = 9000
SERVICES: dict[str, Callable[[], FastAPI]] = {
    "auth": lambda: tidings_auth.app.create_app(load(AuthSettings)),
    "messages": lambda: tidings_messages.app.create_app(load(MessagesSettings)),
    "logs": lambda: tidings_log_consumer.app.create_app(load(LogSettings)),
}


def away() -> dict[str, str]:
    """Return the addresses of servers that are not there."""
    return {
        "TIDINGS_DATABASE_URL": f"mysql+aiomysql://tidings:{ENCODED}@127.0.0.1:{free_port()}/tidings",
        "TIDINGS_REDIS_URL": f"redis://:{ENCODED}@127.0.0.1:{free_port()}/0",
    }


def refusing(servers: RealServers) -> dict[str, str]:
    """Return the addresses of servers that refuse the password."""
    return {
        "TIDINGS_DATABASE_URL": f"mysql+aiomysql://root:{ENCODED}@127.0.0.1:{servers.mariadb.port}/tidings",
        # Without a password of its own, Redis takes any of its default user.
        "TIDINGS_REDIS_URL": f"redis://nobody:{ENCODED}@127.0.0.1:{servers.redis.port}/0",
    }


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    with logged("DEBUG") as stream:
        yield stream


@pytest.fixture(params=["away", pytest.param("refusing", marks=pytest.mark.real)])
def _settings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    addresses = away() if request.param == "away" else refusing(request.getfixturevalue("servers"))
    for name, value in {
        **addresses,
        "TIDINGS_ENVIRONMENT": "development",
        "TIDINGS_HTTP_MANAGEMENT_PORT": str(MANAGEMENT_PORT),
        "TIDINGS_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
        "TIDINGS_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "TIDINGS_KAFKA_SASL_USERNAME": "tidings",
        "TIDINGS_KAFKA_SASL_PASSWORD": CANARY,
        "TIDINGS_ACTIVITY_ADDRESS_KEY": CANARY,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{ENCODED}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.usefixtures("_settings")
async def test_no_failing_dependency_shows_a_secret(
    service: str, log: io.StringIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if service == "auth":
        monkeypatch.setenv("TIDINGS_SIGNING_KEYS_FILE", str(tmp_path / "keys.json"))
        monkeypatch.setenv("TIDINGS_SIGNING_GENERATE", "true")
    else:
        monkeypatch.setenv("TIDINGS_TOKENS_JWKS_URL", f"http://127.0.0.1:{free_port()}/keys")
    app = SERVICES[service]()
    fails = {"database", "clock", "kafka", "revocations"} | ({"redis"} if service == "auth" else {"keys"})
    async with app.router.lifespan_context(app) as state, client(app, **(state or {})) as http:
        found: dict[str, Any] = {}
        while not fails <= {name for name, dependency in found.items() if not dependency["ok"]}:
            await asyncio.sleep(0.1)
            answer = await http.get(f"http://tidings.test:{MANAGEMENT_PORT}/health/ready")
            found = answer.json()["dependencies"]
        answers = [answer, await http.get("/health/ready")]
        answers += [await http.get("/api/messages"), await http.post("/api/login", json={"username": "mina"})]
    assert all(found[name]["reason"] and found[name]["setting"] for name in fails)
    assert found["clock"]["setting"] == "TIDINGS_DATABASE_URL"  # the clocks may well agree
    said = log.getvalue() + "".join(answer.text for answer in answers)
    logged_changes = [line for line in map(json.loads, log.getvalue().splitlines()) if "not usable" in line["message"]]
    assert {line["message"].split(" is not usable")[0].removeprefix("dependency ") for line in logged_changes} >= fails
    for part in ("canary", "quokka", "wombat", "%C3%96", "Ö"):
        assert part not in said
