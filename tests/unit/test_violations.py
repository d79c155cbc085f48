"""Violations: counted by source, and not by more sources than a metric can bear."""

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from support.metrics import points
from tidings_log_consumer import violations
from tidings_log_consumer.violations import Violations


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def counted(reader: InMemoryMetricReader) -> Violations:
    return Violations(MeterProvider([reader], shutdown_on_exit=False).get_meter("test"))


def by_source(reader: InMemoryMetricReader) -> dict[Any, Any]:
    return {attributes["source"]: value for attributes, value in points(reader, "tidings.events.redacted")}


def test_violations_are_counted_by_source_and_told_in_one_line_a_batch(
    counted: Violations, reader: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    assert counted.count([("a", 1), ("b", 0), ("c", 2), ("a", 2)]) == 5
    assert counted.count([("b", 0)]) == 0
    assert counted.count([("b", 7)]) == 7
    assert by_source(reader) == {"a": 3, "c": 2, "b": 7}
    assert caplog.messages == [
        "secrets redacted before storing: 3 of a, 2 of c",
        "secrets redacted before storing: 7 of b",
    ]


def test_sources_beyond_a_bound_are_counted_together(
    counted: Violations, reader: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"source-{number}" for number in range(violations.MAX_SOURCES * 2)]
    assert counted.count((name, 1) for name in names) == len(names)
    assert counted.count([(names[0], 1), (names[-1], 1)]) == 2
    found = by_source(reader)
    assert len(found) == violations.MAX_SOURCES + 1
    assert (found[names[0]], found["other"]) == (2, violations.MAX_SOURCES + 1)
    assert caplog.messages[0].count(" of ") == violations.LOGGED
