"""The real servers of a test session: started on first use, one set for all tests."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pytest

from tidings_local.servers import Kafka, MariaDB, Redis, Server, missing

S = TypeVar("S", MariaDB, Redis, Kafka)

BROKERS = int(os.environ.get("TIDINGS_TEST_BROKERS", "1"))
INSIST = os.environ.get("TIDINGS_TEST_REAL") == "1"


def require(name: str) -> None:
    """Skip the test when a program is not installed, or fail it when real servers are insisted on."""
    what = missing().get(name)
    if what and INSIST:
        pytest.fail(what)
    if what:
        pytest.skip(what)


@dataclass
class RealServers:
    """MariaDB, Redis and Kafka (one broker; more by `TIDINGS_TEST_BROKERS`) with their data in `folder`."""

    folder: Path
    _started: list[Server | Kafka] = field(default_factory=list)

    @cached_property
    def mariadb(self) -> MariaDB:
        """A MariaDB that runs."""
        require("MariaDB")
        return self._start(MariaDB(self.folder / "mariadb"))

    @cached_property
    def redis(self) -> Redis:
        """A Redis that runs."""
        require("Redis")
        return self._start(Redis(self.folder / "redis"))

    @cached_property
    def kafka(self) -> Kafka:
        """A Kafka that runs."""
        require("Kafka")
        return self._start(Kafka(self.folder / "kafka", brokers=BROKERS))

    def stop(self) -> None:
        """Stop whatever was started."""
        for server in reversed(self._started):
            server.stop()

    def _start(self, server: S) -> S:
        server.start()
        self._started.append(server)
        return server
