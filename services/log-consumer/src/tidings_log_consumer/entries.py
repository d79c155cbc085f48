"""Entries: what the log keeps of one event."""

from datetime import UTC, datetime
from typing import Any

from aiokafka import ConsumerRecord
from opentelemetry.trace import SpanContext

from tidings.events import Event, EventData


def entry_of(event: Event[EventData], record: "ConsumerRecord[Any, Any]", span: SpanContext | None) -> dict[str, Any]:
    """Return the row for `event`.

    Args:
        event: as decoded.
        record: where it came from.
        span: the span that published it, if the record names one.
    """
    data = event.data
    return {
        "event_id": event.id,
        "type": data.name,
        "service": event.source,
        "user_id": data.user(),
        "username": getattr(data, "username", None) or getattr(data, "author", None),
        "method": getattr(data, "method", None),
        "route": getattr(data, "route", None),
        "status": getattr(data, "status", None),
        "trace_id": f"{span.trace_id:032x}" if span else None,
        "span_id": f"{span.span_id:016x}" if span else None,
        "occurred_at": event.time,
        "published_at": _published_at(record),
        "stored_at": datetime.now(UTC),
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "data": data.model_dump_json(),
    }


def _published_at(record: "ConsumerRecord[Any, Any]") -> datetime:
    """Return when Kafka got the record; now, when its timestamp, which any producer may set, is no moment."""
    if record.timestamp is None or record.timestamp < 0:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.now(UTC)
