"""Fixtures of the unit tests: no variable of this machine and no earlier test decides a result."""

import os

import pytest

from tidings import known_secrets


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("TIDINGS_", "OTEL_EXPORTER", "OTEL_TRACES")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _forgotten_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the secrets of earlier tests: texts would be masked where they only look like one of these."""
    monkeypatch.setattr(known_secrets, "_remembered", known_secrets._Remembered())
