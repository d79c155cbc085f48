"""Fixtures for all tests: real servers for the session, and the backends that a test runs on.

Tests may run in several processes (workers), each with servers and ports of its own.
"""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from shutil import disk_usage
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from support.backends import fresh_backends
from support.collector import Collector, running_collector
from support.servers import RealServers
from support.system import System, embedded_system, real_system
from tidings import known_secrets
from tidings_local.backends import Backends

BACKENDS = ["embedded", pytest.param("real", marks=pytest.mark.real)]

# Spans leave soon, so that a test need not wait for them.
QUICK_SPANS = {"OTEL_BSP_SCHEDULE_DELAY": "100"}

PORTS_PER_WORKER = 1_500

MEMORY, MEMORY_BYTES = Path("/dev/shm"), 4 * 2**30  # noqa: S108  # what a file system in memory is called on Linux


def pytest_configure() -> None:
    """Keep what was set for the tests' own process from the processes that they start."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each process would compile all libraries anew
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # each process would inherit that it is ignored, as under nohup
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ and MEMORY.is_dir() and disk_usage(MEMORY).free > MEMORY_BYTES:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)  # servers and SQLite wait for no disk there
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        # Workers make each other wait, and what many requests at once do is tried apart from who is refused for them.
        os.environ.setdefault("TIDINGS_DATABASE_DEADLINE_SECONDS", "5")
        os.environ.setdefault("TIDINGS_HTTP_MAX_REQUESTS", "100")
        first = 20_000 + int(worker.removeprefix("gw")) * PORTS_PER_WORKER
        os.environ["TIDINGS_LOCAL_PORTS"] = f"{first}-{first + PORTS_PER_WORKER - 1}"


class FilesTogether(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Keeps tests that share fixtures in one worker: those of one file on the same backends.

    xdist's own groups (`--dist loadgroup`) do nothing with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        return f"{file} real" if re.search(r"\[(.*-)?real\b", test) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    """Say which tests a worker gets."""
    return FilesTogether(config, log)


@pytest.fixture(scope="module", autouse=True)
def _forgotten_secrets() -> None:
    """Forget the secrets of earlier modules: a process has those of one service, and each more makes masking slower."""
    known_secrets._remembered = known_secrets._Remembered()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServers]:
    """The real servers, each started when a test first needs it."""
    servers = RealServers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """A collector that takes every system's spans."""
    with running_collector() as collector:
        yield collector


@pytest.fixture(scope="session", params=BACKENDS)
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[System]:
    """A system that all tests share which do it no harm: embedded, and again on real servers."""
    folder: Path = tmp_path_factory.mktemp(f"system-{request.param}")
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **QUICK_SPANS}
    if request.param == "embedded":
        with embedded_system(folder, environment) as running:
            yield running
    else:
        with real_system(folder, request.getfixturevalue("servers"), environment) as running:
            yield running


@pytest.fixture(params=BACKENDS)
def backends(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backends]:
    """Backends that nobody else uses: new databases, and a consumer group of their own."""
    monkeypatch.setenv("TIDINGS_CONSUMER_GROUP", f"tidings-log-{tmp_path.name}-{request.param}")
    servers = request.getfixturevalue("servers") if request.param == "real" else None
    with fresh_backends(tmp_path, servers) as opened:
        yield opened


@pytest.fixture(scope="module", params=BACKENDS)
def shared_backends(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Backends that the tests of one module share."""
    folder = tmp_path_factory.mktemp(f"backends-{request.param}")
    servers = request.getfixturevalue("servers") if request.param == "real" else None
    with pytest.MonkeyPatch.context() as patch, fresh_backends(folder, servers) as opened:
        patch.setenv("TIDINGS_CONSUMER_GROUP", f"tidings-log-{folder.parent.name}-{folder.name}")
        yield opened
