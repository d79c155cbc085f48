"""Each service by itself: its commands, and the clear end of a wrong setting."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from support.client import eventually
from support.servers import RealServers
from support.system import Process
from tidings.standard_variables import UNUSED
from tidings_local.servers.ports import free_port

COMPLETE = {
    "TIDINGS_ENVIRONMENT": "development",
    "TIDINGS_DATABASE_URL": "sqlite+aiosqlite:///{folder}/service.db",
    "TIDINGS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    "TIDINGS_TOKENS_JWKS_URL": "http://127.0.0.1:9/.well-known/jwks.json",
    "TIDINGS_ACTIVITY_ADDRESS_KEY": "0123456789abcdef",
    "TIDINGS_REDIS_URL": "redis://127.0.0.1:9/0",
    "TIDINGS_SIGNING_KEYS_FILE": "{folder}/signing-keys.json",
    "TIDINGS_SIGNING_GENERATE": "true",
}
PACKAGES = ["tidings_auth", "tidings_messages", "tidings_log_consumer"]


def settings(folder: Path, **changes: str) -> dict[str, str]:
    return {name: text.format(folder=folder) for name, text in (COMPLETE | changes).items()}


def command(package: str, what: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TIDINGS_")}
    return subprocess.run(
        [sys.executable, "-m", package, what],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_missing_settings_are_all_named_at_once(package: str) -> None:
    ended = command(package, "serve", {})
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    for name in ("TIDINGS_DATABASE_URL", "TIDINGS_KAFKA_BOOTSTRAP_SERVERS", "TIDINGS_ACTIVITY_ADDRESS_KEY"):
        assert f"{name}: is not set" in ended.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_after_migrate_serve_is_ready_but_for_what_is_away(package: str, tmp_path: Path) -> None:
    environment = settings(tmp_path)
    assert command(package, "migrate", environment).returncode == 0
    port = free_port()
    process = Process(
        name=package,
        command=[sys.executable, "-m", package, "serve"],
        environment=environment | {"TIDINGS_HTTP_PORT": str(port), "TIDINGS_HTTP_MANAGEMENT_PORT": str(free_port())},
        url=f"http://127.0.0.1:{port}",
        log=tmp_path / "log",
    )
    process.start()
    try:
        answer = process.readiness()
        forged = httpx.get(f"{process.url}/health/ready", headers={"Host": answer.request.headers["host"]}, timeout=10)
        docs = httpx.get(f"{process.url}/docs", timeout=10)
    finally:
        assert process.stop() == 0
    assert answer.status_code == 503
    dependencies = answer.json()["dependencies"]
    assert dependencies["database"]["ok"]
    assert not dependencies["kafka"]["ok"]
    assert dependencies["kafka"]["setting"] == "TIDINGS_KAFKA_BOOTSTRAP_SERVERS"
    assert forged.json() == {
        "ready": False,
        "dependencies": {name: {"ok": d["ok"]} for name, d in dependencies.items()},
    }
    assert "dependency kafka is not usable: " in process.output()
    assert docs.status_code == 200


def test_a_missing_keys_file_ends_the_start_with_its_name_and_what_makes_it(tmp_path: Path) -> None:
    ended = command("tidings_auth", "serve", settings(tmp_path, TIDINGS_SIGNING_GENERATE="false"))
    assert ended.returncode == 2
    assert ended.stderr.startswith("TIDINGS_SIGNING_KEYS_FILE: ")
    assert "`python -m tidings_auth rotate-keys` makes one" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


WRONG = {
    "TIDINGS_DATABASE_URL": "mysql+aiomysql://u:pre@SECRETPART@127.0.0.1/x",
    "TIDINGS_REDIS_URL": "redis://:SECRET#PART@127.0.0.1:6379/0",
    "TIDINGS_KAFKA_BOOTSTRAP_SERVERS": "u:SECRETPART@127.0.0.1:9092",
    "TIDINGS_HTTP_PUBLIC_URL": "not-a-SECRETPART-url",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:SECRETPART@127.0.0.1:4318",
    "OTEL_EXPORTER_OTLP_HEADERS": "x=SECRETPART%EB%AF%BC",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "SECRETPART",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "SECRETPART",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "SECRETPART",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "SECRETPART",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "/SECRETPART",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9999",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "SECRETPART",
    "OTEL_TRACES_SAMPLER": "SECRETPART",
    "OTEL_TRACES_SAMPLER_ARG": "2",
    "OTEL_BSP_SCHEDULE_DELAY": "-1",
    "OTEL_SPAN_EVENT_COUNT_LIMIT": "SECRETPART",
    "OTEL_SDK_DISABLED": "SECRETPART",
}


@pytest.mark.parametrize("package", PACKAGES)
def test_wrong_settings_end_the_start_named_and_not_shown(package: str, tmp_path: Path) -> None:
    environment = settings(tmp_path, **WRONG)
    if package == "tidings_auth":
        del environment["TIDINGS_TOKENS_JWKS_URL"]
    ended = command(package, "serve", environment)
    assert (ended.returncode, ended.stdout) == (2, "")
    first, *lines = ended.stderr.splitlines()
    assert first == "wrong settings:"
    assert {line.split(":")[0].strip() for line in lines} == WRONG.keys()
    assert "SECRET" not in ended.stderr
    assert "PART" not in ended.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_redis_in_memory_ends_the_start_in_production(package: str, tmp_path: Path) -> None:
    changes = {"TIDINGS_ENVIRONMENT": "production", "TIDINGS_SIGNING_GENERATE": "false"}
    ended = command(package, "serve", settings(tmp_path, TIDINGS_REDIS_URL="memory://redis", **changes))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "  TIDINGS_REDIS_URL: memory:// is for TIDINGS_ENVIRONMENT=development only" in ended.stderr


def test_variables_that_tidings_does_not_use_do_not_matter(tmp_path: Path) -> None:
    unused = {**dict.fromkeys(UNUSED, "("), "OTEL_BSP_MAX_QUEUE_SIZE": ""}
    ended = command("tidings_messages", "migrate", settings(tmp_path, **unused))
    assert (ended.returncode, ended.stderr) == (0, "")
    listed = command("tidings", "topics", unused)  # whose usage is wrong
    assert listed.returncode == 2
    assert "usage: python -m tidings topics" in listed.stderr


def test_a_taken_management_port_ends_the_start_with_its_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"TIDINGS_HTTP_PORT": free_port(), "TIDINGS_HTTP_MANAGEMENT_PORT": taken.getsockname()[1]}
        environment = settings(tmp_path) | {name: str(port) for name, port in ports.items()}
        ended = command("tidings_messages", "serve", environment)
    assert ended.returncode == 2
    assert ended.stderr.startswith("TIDINGS_HTTP_MANAGEMENT_PORT: 127.0.0.1:")
    assert "Traceback" not in ended.stderr


def test_a_service_listens_on_ipv6_and_ipv4(tmp_path: Path) -> None:
    port = free_port()
    process = Process(
        name="messages",
        command=[sys.executable, "-m", "tidings_messages", "serve"],
        environment=settings(tmp_path) | {"TIDINGS_HTTP_HOST": "::", "TIDINGS_HTTP_PORT": str(port)},
        url=f"http://[::1]:{port}",
        log=tmp_path / "log",
    )
    process.start()
    try:
        for host in ("[::1]", "127.0.0.1"):
            assert httpx.get(f"http://{host}:{port}/health/live", timeout=10).json() == {"live": True}
    finally:
        assert process.stop() == 0


def test_keys_are_made_and_rotated_by_a_command_that_needs_no_other_setting(tmp_path: Path) -> None:
    environment = {"TIDINGS_SIGNING_KEYS_FILE": str(tmp_path / "keys.json")}
    made, again = (command("tidings_auth", "rotate-keys", environment) for _ in range(2))
    assert (made.returncode, again.returncode) == (0, 0)
    assert "made a key that signs at once, and the next one" in made.stdout
    assert again.stdout.startswith("nothing to do")


@pytest.mark.real
@pytest.mark.parametrize("package", ["tidings_messages", "tidings_log_consumer"])
def test_a_service_that_starts_before_its_migrations_names_them_and_recovers(
    package: str, tmp_path: Path, servers: RealServers
) -> None:
    name = f"late_{package}"
    servers.mariadb.create_database(name)
    environment = settings(
        tmp_path,
        TIDINGS_DATABASE_URL=servers.mariadb.url(name),
        TIDINGS_KAFKA_BOOTSTRAP_SERVERS=servers.kafka.bootstrap,
    ) | {"TIDINGS_CONSUMER_GROUP": f"late-{tmp_path.name}"}
    port = free_port()
    process = Process(
        name=package,
        command=[sys.executable, "-m", package, "serve"],
        environment=environment | {"TIDINGS_HTTP_PORT": str(port), "TIDINGS_HTTP_MANAGEMENT_PORT": str(free_port())},
        url=f"http://127.0.0.1:{port}",
        log=tmp_path / "log",
    )

    def dependencies() -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = process.readiness().json()["dependencies"]
        return found

    process.start()
    try:
        before = eventually(dependencies, lambda found: bool(found["kafka"]["ok"]))
        assert f"run python -m {package} migrate" in str(before["database"]["reason"])
        httpx.get(f"{process.url}/api/nothing", timeout=10)  # an event for the consumer to fail on
        time.sleep(1.5)
        assert command(package, "migrate", environment).returncode == 0
        after = eventually(dependencies, lambda found: bool(found["database"]["ok"] and found["kafka"]["ok"]))
        assert after["database"]["ok"]
        assert after["kafka"]["ok"]
        assert httpx.get(f"{process.url}/health/live", timeout=10).json() == {"live": True}
    finally:
        process.stop()


@pytest.mark.real
def test_a_wrong_database_name_ends_the_start_with_the_settings_name(tmp_path: Path, servers: RealServers) -> None:
    environment = settings(tmp_path, TIDINGS_DATABASE_URL=servers.mariadb.url("testdb"))
    ended = command("tidings_messages", "migrate", environment)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "TIDINGS_DATABASE_URL" in ended.stderr
    assert "Unknown database 'testdb'" in ended.stderr
    port = free_port()
    process = Process(
        name="messages",
        command=[sys.executable, "-m", "tidings_messages", "serve"],
        environment=environment | {"TIDINGS_HTTP_PORT": str(port), "TIDINGS_HTTP_MANAGEMENT_PORT": str(free_port())},
        url=f"http://127.0.0.1:{port}",
        log=tmp_path / "log",
    )
    process.start()
    try:
        found = process.readiness().json()["dependencies"]["database"]
    finally:
        process.stop()
    assert not found["ok"]
    assert found["setting"] == "TIDINGS_DATABASE_URL"
    assert "Unknown database 'testdb'" in found["reason"]
