"""Structured mode: a record whose value holds the whole event, rewritten as the binary-mode record that says the same.

Whoever reads records so knows one mode only. Source: CloudEvents 1.0.2, Kafka Protocol Binding section 3.3, JSON Event
Format, and the extension "distributed tracing".
"""

import base64
import json
from typing import Any

from pydantic_core import from_json

from tidings.events.record import JSON, RawHeaders, Undecodable, media_type

STRUCTURED = "application/cloudevents+json"
ATTRIBUTES = ("specversion", "id", "source", "type", "time", "sequence", "partitionkey", "subject", "dataschema")
TRACEPARENT, TRACESTATE = "traceparent", "tracestate"


def in_binary_mode(value: bytes | None, headers: RawHeaders) -> tuple[bytes | None, RawHeaders]:
    """Return the value and headers of the binary-mode record that says the same; such a record itself as it is.

    A trace context among the record's headers wins over the one inside the event, which is as old as the event. What is
    malformed there is ignored, as everywhere.

    Raises:
        Undecodable: the value is no CloudEvents JSON.
    """
    headers = tuple(headers)
    if not _is_structured(headers):
        return value, headers
    event = _parsed(value)
    if media_type(_text(event, "datacontenttype") or JSON) != JSON:
        raise Undecodable("datacontenttype is not application/json")
    kept = [(name, raw) for name, raw in headers if name != "content-type" and not name.startswith("ce_")]
    attributes = {f"ce_{name}": _text(event, name) for name in ATTRIBUTES}
    if not any(name == TRACEPARENT and raw is not None for name, raw in kept):
        attributes |= {name: event.get(name) for name in (TRACEPARENT, TRACESTATE)}
    found = [(name, text.encode()) for name, text in attributes.items() if isinstance(text, str)]
    return _data(event), [*kept, *found, ("content-type", JSON.encode())]


def _is_structured(headers: tuple[tuple[str, bytes | None], ...]) -> bool:
    for name, raw in headers:
        if name == "content-type" and raw is not None:
            return media_type(raw.decode(errors="replace")) == STRUCTURED
    return False


def _parsed(value: bytes | None) -> dict[str, Any]:
    if value is None:
        raise Undecodable("the record has no value")
    try:
        event = from_json(value)  # pydantic's parser refuses deep nesting, on which the standard library's recurses
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise Undecodable("the value is not a JSON object")
    return event


def _text(event: dict[str, Any], name: str) -> str | None:
    """Return an attribute; null means that it is not there."""
    text = event.get(name)
    if text is not None and not isinstance(text, str):
        raise Undecodable(f"{name} is not a string")
    return text


def _data(event: dict[str, Any]) -> bytes | None:
    data, encoded = event.get("data"), _text(event, "data_base64")
    if encoded is None:
        return None if data is None else json.dumps(data).encode()
    if data is not None:
        raise Undecodable("the event has both data and data_base64")
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        raise Undecodable("data_base64 is not base64") from None
