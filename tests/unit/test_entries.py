"""Entries: what the log keeps of one event, whatever its record says of itself."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from aiokafka import ConsumerRecord
from opentelemetry.trace import SpanContext

from tidings.events import ApiRequest, MessageCreated, decode
from tidings.events.codec import encode
from tidings.events.envelope import Event, EventData
from tidings_log_consumer.entries import _published_at, entry_of
from unit.test_codec import ID, wire

USER = UUID("018f0000-0000-7000-8000-000000000009")


def record_at(timestamp: int) -> "ConsumerRecord[Any, Any]":
    value, headers = wire()
    return ConsumerRecord("topic", 3, 7, timestamp, 0, None, value, None, 0, 0, tuple(headers))


def is_now(moment: datetime) -> bool:
    return abs(datetime.now(UTC) - moment) < timedelta(seconds=10)


def test_a_record_was_published_at_its_timestamp_to_the_millisecond() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
    assert _published_at(record_at(int(moment.timestamp() * 1000))) == moment
    assert _published_at(record_at(0)) == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("timestamp", [2**62, -(2**62), 2**63 - 1, -(2**63), 253_402_300_800_000])
def test_a_record_whose_timestamp_is_outside_the_calendar_was_published_now(timestamp: int) -> None:
    assert is_now(_published_at(record_at(timestamp)))
    assert is_now(entry_of(decode(*wire()), record_at(timestamp), None)["published_at"])


def test_a_record_without_a_timestamp_was_published_now() -> None:
    assert is_now(_published_at(record_at(-1)))


def test_an_entry_says_who_did_what_and_where_it_was_read() -> None:
    event: Event[EventData] = Event(
        source="tidings-test",
        data=ApiRequest(method="GET", route="/x", status=200, duration_ms=1, user_id=USER, username="mina"),
    )
    entry = entry_of(event, record_at(0), SpanContext(trace_id=0xAB, span_id=0xCD, is_remote=True))
    assert is_now(entry.pop("stored_at"))
    assert entry == {
        "event_id": event.id,
        "type": "api.request",
        "service": "tidings-test",
        "user_id": USER,
        "username": "mina",
        "method": "GET",
        "route": "/x",
        "status": 200,
        "trace_id": "ab".rjust(32, "0"),
        "span_id": "cd".rjust(16, "0"),
        "occurred_at": event.time,
        "published_at": datetime(1970, 1, 1, tzinfo=UTC),
        "topic": "topic",
        "partition": 3,
        "offset": 7,
        "data": encode(event).value.decode(),
    }


def test_an_entry_of_a_message_names_its_author_and_no_call_and_may_have_no_trace() -> None:
    event: Event[EventData] = Event(
        source="s", data=MessageCreated(message_id=UUID(ID), author_id=USER, author="mina", length=3)
    )
    entry = entry_of(event, record_at(0), None)
    assert (entry["type"], entry["user_id"], entry["username"]) == ("message.created", USER, "mina")
    assert [entry[name] for name in ("method", "route", "status", "trace_id", "span_id")] == [None] * 5
