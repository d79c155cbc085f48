"""Fixtures of the unit tests: no variable of this machine and no earlier test decides a result."""

import os
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from tidings import known_secrets
from tidings.redis.client import connect
from tidings.redis.settings import RedisSettings
from unit.fakes import Clock


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("TIDINGS_", "OTEL_EXPORTER", "OTEL_TRACES")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _forgotten_secrets_of_each_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the secrets of earlier tests: texts would be masked where they only look like one of these."""
    monkeypatch.setattr(known_secrets, "_remembered", known_secrets._Remembered())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of this process, for the test to move."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
async def redis(clock: Clock) -> AsyncIterator[Redis]:
    """An empty in-memory Redis whose time is that of `clock`."""
    client = connect(RedisSettings(url=SecretStr(f"memory://{uuid4()}")))
    yield client
    await client.aclose()
