"""Fixtures of the unit tests: no variable of this machine decides a result."""

import os

import pytest


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("TIDINGS_", "OTEL_EXPORTER", "OTEL_TRACES")):
            monkeypatch.delenv(name)
