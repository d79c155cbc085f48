"""Kafka and the collector take connections and never answer: no call fails, and every service still ends in time."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.client import Person
from support.servers import RealServers
from support.system import real_system

pytestmark = [pytest.mark.real, pytest.mark.serial]

EXIT_SECONDS = 15


@pytest.fixture
def silent_collector() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_no_call_fails_and_every_service_ends_in_time(
    tmp_path: Path, servers: RealServers, silent_collector: str
) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": silent_collector, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with real_system(tmp_path, servers, environment) as system, system.client() as http:
        person = Person(http)
        servers.kafka.pause()
        try:
            for number in range(200):
                person.say(f"into the dark, {number}")
                assert person.get("/api/messages").status_code == 200
                assert person.get("/api/logs").status_code == 200
            for name, process in system.processes.items():
                asked = time.monotonic()
                assert process.stop() == 0, (name, process.output()[-2000:])
                assert time.monotonic() - asked < EXIT_SECONDS, name
        finally:
            servers.kafka.resume()
