"""The local runner: one command that starts, keeps its data, and ends cleanly; and errors of one clear line."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from support.client import Person, eventually
from support.servers import require
from support.system import Process
from tidings_local.servers.ports import free_port


def local(folder: Path, **environment: str) -> Process:
    port = free_port()
    return Process(
        name="all",
        command=[sys.executable, "-m", "tidings_local", "run"],
        # A proxy for the world outside must not come between the services.
        environment={"PORT": str(port), "DATA": str(folder / "var"), "http_proxy": "http://127.0.0.1:9", **environment},
        url=f"http://127.0.0.1:{port}",
        log=folder / "log",
    )


@contextmanager
def running(process: Process) -> Iterator[httpx.Client]:
    if not process.running or process.running.poll() is not None:
        process.start()
    try:
        with httpx.Client(base_url=process.url, timeout=15) as http:
            eventually(lambda: http.get("/health/ready").status_code, lambda status: status == 200, seconds=20)
            yield http
    finally:
        if process.running and process.running.poll() is None:
            process.stop()


def refused(environment: dict[str, str]) -> str:
    """Run it where it cannot run, and return what it says."""
    command = [sys.executable, "-m", "tidings_local", "run"]
    ended = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    return ended.stderr.strip()


@pytest.mark.parametrize("real", ["", pytest.param("1", marks=pytest.mark.real)], ids=["embedded", "real"])
def test_ctrl_c_ends_it_cleanly_and_the_next_start_has_everything(
    tmp_path: Path, real: str, record_property: Callable[[str, object], None]
) -> None:
    """Everything that was answered is in the log afterwards, although the embedded Kafka forgets all at exit."""
    if real:
        for name in ("MariaDB", "Redis", "Kafka"):
            require(name)
    process = local(tmp_path, REAL=real)
    with running(process) as http:
        person = Person(http, "mina")
        posted = [person.say(f"still here tomorrow {number}") for number in range(50)]
        asked = time.monotonic()
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        record_property("end_seconds", round(time.monotonic() - asked, 1))
    assert "nothing is left to send" in process.output()
    assert "Traceback" not in process.output()
    started = time.monotonic()
    process.start()
    record_property("second_start_seconds", round(time.monotonic() - started, 1))
    with running(process) as http:
        person.http = http
        assert person.get("/api/me").status_code == 200  # a token of before is still good
        listed = [item["id"] for item in person.get("/api/messages?limit=100").json()["items"]]
        assert listed == [message["id"] for message in reversed(posted)]
        entries = eventually(person.log, lambda found: len([e for e in found if e["status"] == 201]) >= 50)
        assert {message["event_id"] for message in posted} <= {entry["event_id"] for entry in entries}
        assert len([entry for entry in entries if entry["route"] == "/api/messages" and entry["status"] == 201]) == 50
        said = refused({"PORT": str(free_port()), "DATA": str(tmp_path / "var")})
    assert re.fullmatch(r"DATA: another Tidings is running with .*; stop it or choose another folder", said)
    assert f"Tidings runs at    {process.url}" in process.output()
    assert f"{process.url}/docs" in process.output()
    assert ("MariaDB" in process.output()) == bool(real)


def test_events_that_the_log_did_not_take_at_the_end_are_owned_up_to(tmp_path: Path) -> None:
    process = local(tmp_path)
    with running(process) as http:
        person = Person(http)
        with sqlite3.connect(tmp_path / "var" / "logs.db", isolation_level=None) as held:
            held.execute("BEGIN IMMEDIATE")
            person.say("where nobody can store it")
            process.signal(signal.SIGINT)
            assert process.wait() == 1
        held.close()
    assert "the log's database did not take the last events" in process.output()
    assert "nothing is left to send" not in process.output()


def test_a_folder_that_no_database_address_can_name_is_one_clear_line(tmp_path: Path) -> None:
    said = refused({"PORT": str(free_port()), "DATA": str(tmp_path / "what?")})
    assert said == "DATA: has a ?, %, # or control character in it, which no address of a database can have"


def test_a_busy_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused({"PORT": str(port), "DATA": str(tmp_path / "var")})
    assert said == f"PORT: 127.0.0.1:{port} cannot be used: Address already in use; choose another port"


def test_a_host_of_another_machine_is_blamed_on_its_variable(tmp_path: Path) -> None:
    said = refused({"TIDINGS_HOST": "192.0.2.1", "PORT": str(free_port()), "DATA": str(tmp_path / "var")})
    assert said.startswith("TIDINGS_HOST: ")
    assert "is not an address of this machine" in said


def test_it_runs_on_ipv6(tmp_path: Path) -> None:
    process = local(tmp_path, TIDINGS_HOST="::1")
    process.url = process.url.replace("127.0.0.1", "[::1]")
    with running(process) as http:
        person = Person(http)
        person.say("by IPv6")
        assert http.get("/openapi/auth.json").json().get("servers") is None
        found = http.get("/health/ready").json()
        assert found["dependencies"]["messages/keys"] == {"ok": True}
    assert f"Tidings runs at    {process.url}" in process.output()


def test_a_wrong_variable_of_opentelemetry_is_one_clear_line(tmp_path: Path) -> None:
    said = refused({"OTEL_TRACES_SAMPLER": "some", "PORT": str(free_port()), "DATA": str(tmp_path / "var")})
    assert re.fullmatch("wrong settings:\n  OTEL_TRACES_SAMPLER: Input should be .*", said)


def test_an_unwritable_folder_is_one_clear_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    said = refused({"PORT": str(free_port()), "DATA": str(blocked / "var")})
    assert said == f"DATA: {blocked}/var cannot be written: Not a directory"


def test_wrong_settings_are_named_together(tmp_path: Path) -> None:
    said = refused({"PORT": "eighty", "DATA": str(tmp_path), "REAL": "perhaps"})
    assert "PORT: " in said
    assert "REAL: " in said


def test_the_demo_prints_the_journey_of_an_instance_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tidings_local", "demo"]
    environment = os.environ | {"PORT": str(free_port()), "DATA": str(tmp_path / "var")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Nothing runs at" in ended.stdout
    assert "안녕하세요" in ended.stdout
    assert re.search(r"trace [0-9a-f]{32}\n└─ POST /api/messages → 201", ended.stdout)
    assert re.search(r"├─ message\.created\n.*happened.*\n.*published.*\n.*stored", ended.stdout)


def test_the_demo_says_what_is_wrong_when_it_cannot_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tidings_local", "nonsense"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert "invalid choice" in ended.stderr
    assert tmp_path.exists()
