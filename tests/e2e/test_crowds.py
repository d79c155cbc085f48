"""Crowds of slow and silent clients: everybody else is answered meanwhile, in bounded memory."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from support.bare import PARSERS
from support.crowd import crowd
from support.system import Process
from tidings.connections import Parser
from tidings.http.settings import HttpSettings
from tidings.serving import OWN_FILES
from tidings_local.servers.ports import free_port

pytestmark = pytest.mark.serial

FEW_FILES = 400
PLACES = HttpSettings().max_requests
"""A crowd of fewer slow bodies would not show whether they take the places of others."""


@contextmanager
def bare_server(folder: Path, parser: Parser, *, files: int | None = None) -> Iterator[Process]:
    """Run the bare application in a process of its own, which may open so many files."""
    port = free_port()
    command = [sys.executable, "-m", "support.bare", f"{port}", parser, "0"]
    if files:
        command = ["bash", "-c", f'ulimit -n {files}; exec "$@"', "bash", *command]
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    server = Process("server", command, environment, f"http://127.0.0.1:{port}", folder / "log")
    server.start()
    try:
        yield server
    finally:
        assert server.stop() == 0


def memory(process: Process) -> int:
    """Return the resident memory of a process in MiB."""
    assert process.running
    pages = int(Path(f"/proc/{process.running.pid}/statm").read_text().split()[1])
    return pages * 4096 >> 20


def files(process: Process) -> int:
    """Return how many files a process has open."""
    assert process.running
    return len(list(Path(f"/proc/{process.running.pid}/fd").iterdir()))


def assert_others_are_answered(server: Process) -> None:
    """Ask again and again, with a body and without one."""
    for _ in range(20):
        assert httpx.get(f"{server.url}/other", timeout=30).status_code == 200
        assert httpx.post(f"{server.url}/other", content=b"{}", timeout=30).status_code == 200


@pytest.mark.parametrize("parser", PARSERS)
def test_crowd_keeps_nobody_from_being_answered(tmp_path: Path, parser: Parser) -> None:
    with bare_server(tmp_path, parser) as server:
        before = memory(server)
        port = int(server.url.rpartition(":")[2])
        with crowd(port, path="/slow-body", heads=500, bodies=500, silent=10_000) as slow:
            assert_others_are_answered(server)
            assert slow.bodies_under_way() > PLACES
            assert files(server) < 1000 + OWN_FILES
            assert memory(server) - before < 100


def test_crowd_above_the_limit_of_files_ends_nothing(tmp_path: Path) -> None:
    with bare_server(tmp_path, "h11", files=FEW_FILES) as server:
        port = int(server.url.rpartition(":")[2])
        with crowd(port, path="/slow-body", heads=100, bodies=100, silent=1_000) as slow:
            assert_others_are_answered(server)
            assert slow.bodies_under_way() > PLACES
            assert files(server) < FEW_FILES
        assert "out of system resource" not in server.output()
