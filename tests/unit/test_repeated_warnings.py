"""Warnings that a flood of requests would repeat."""

import asyncio
import logging

import pytest

from tidings import repeated_warnings
from tidings.repeated_warnings import RepeatedWarnings


async def test_the_first_is_written_at_once_and_then_how_many_more_there_were(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_warnings, "LOG_SECONDS", 0.01)
    warnings = RepeatedWarnings(logging.getLogger("flood"))
    for number in range(4):
        warnings.warn("answered 503", f"reason {number}")
    assert caplog.messages == ["answered 503: reason 0"]
    async with asyncio.timeout(5):
        while len(caplog.messages) < 2:  # noqa: ASYNC110  # a log has no event
            await asyncio.sleep(0.001)
    assert caplog.messages[1] == "answered 503: 3 more since the last line"


async def test_kinds_are_counted_apart(caplog: pytest.LogCaptureFixture) -> None:
    warnings = RepeatedWarnings(logging.getLogger("flood"))
    for kind in ("database", "redis", "database"):
        warnings.warn(kind, "not reached")
    assert caplog.messages == ["database: not reached", "redis: not reached"]


async def test_a_warning_after_a_calm_second_is_written_at_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_warnings, "LOG_SECONDS", 0)
    warnings = RepeatedWarnings(logging.getLogger("flood"))
    warnings.warn("kind", "first")
    for _ in range(3):
        await asyncio.sleep(0)
    warnings.warn("kind", "second")
    assert caplog.messages == ["kind: first", "kind: second"]
