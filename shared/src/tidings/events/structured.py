"""Structured mode: a record whose value holds the whole event, rewritten as the binary-mode record that says the same.

Whoever reads records so knows one mode only. Source: CloudEvents 1.0.2, Kafka Protocol Binding section 3.3, JSON Event
Format, and the extension "distributed tracing".
"""

import base64
import json
from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json

from tidings.events.record import JSON, RawHeaders, Undecodable, media_type, utf8_of

STRUCTURED = "application/cloudevents+json"
ATTRIBUTES = ("specversion", "id", "source", "type", "time", "sequence", "partitionkey", "subject", "dataschema")
TRACEPARENT, TRACESTATE = "traceparent", "tracestate"


def in_binary_mode(value: bytes | None, headers: RawHeaders) -> tuple[bytes | None, RawHeaders]:
    """Return the value and headers of the binary-mode record that says the same; such a record itself as it is.

    A record without content type is in binary mode and JSON: those who write events by hand forget it.

    A trace context among the record's headers wins over the one inside the event, which is as old as the event. What is
    malformed there is ignored, as everywhere.

    Raises:
        Undecodable: the content type is another one, or the value is not CloudEvents JSON.
    """
    headers = tuple(headers)
    content_type = media_type(_content_type(headers))
    if content_type == JSON:
        return value, headers
    if content_type != STRUCTURED:
        raise Undecodable(f"content-type is neither {JSON} nor {STRUCTURED} in UTF-8, and nothing else is read")
    event = _parsed(value)
    if media_type(_text(event, "datacontenttype") or JSON) != JSON:
        raise Undecodable(f"datacontenttype is not {JSON} in UTF-8, and nothing else is read")
    kept = [(name, raw) for name, raw in headers if name != "content-type" and not name.startswith("ce_")]
    attributes = {f"ce_{name}": _text(event, name) for name in ATTRIBUTES}
    if not any(name == TRACEPARENT and raw is not None for name, raw in kept):
        attributes |= {name: event.get(name) for name in (TRACEPARENT, TRACESTATE)}
    found = [(name, text.encode()) for name, text in attributes.items() if isinstance(text, str)]
    return _data(event), [*kept, *found, ("content-type", JSON.encode())]


def _content_type(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """Return the first content type; the one of binary mode when there is none."""
    for name, raw in headers:
        if name == "content-type" and raw is not None:
            return utf8_of(name, raw)
    return JSON


def _parsed(value: bytes | None) -> dict[str, Any]:
    if value is None:
        raise Undecodable("the record has no value")
    try:
        # pydantic's parser refuses deep nesting, on which the standard library's recurses
        event = from_json(value, allow_inf_nan=False)
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


def _data(event: dict[str, Any]) -> bytes:
    data, encoded = event.get("data"), _text(event, "data_base64")
    if encoded is None and data is None:
        raise Undecodable("the event has no data")
    if encoded is None:
        return json.dumps(data).encode()
    if data is not None:
        raise Undecodable("the event has both data and data_base64")
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        raise Undecodable("data_base64 is not base64") from None
