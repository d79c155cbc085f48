"""The codec: an event to a Kafka record and back, in CloudEvents 1.0 binary mode.

Source: CloudEvents, Kafka Protocol Binding 1.0.2, section 3.2.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC

from pydantic import ValidationError

from tidings.events.catalogue import CATALOGUE
from tidings.events.envelope import Event, EventData
from tidings.events.redaction import redact_json

SPEC_VERSION = "1.0"
CONTENT_TYPE = "application/json"

READ = frozenset({"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_sequence"})

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Record:
    """An event ready for the wire; its trace context is added when it is published."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


class Undecodable(ValueError):
    """A record is no event that Tidings knows; the message says why, without the record's content."""


def encode(event: Event[EventData]) -> Record:
    """Return the record of `event`: attributes as `ce_` headers, data as JSON; no secret is in either."""
    data, value = _redacted(event.data)
    headers = {
        "ce_specversion": SPEC_VERSION,
        "ce_id": str(event.id),
        "ce_source": event.source,
        "ce_type": data.type(),
        "ce_time": event.time.astimezone(UTC).isoformat(timespec="microseconds"),
        "ce_partitionkey": data.key(),
        "content-type": CONTENT_TYPE,
    }
    if event.sequence is not None:
        headers["ce_sequence"] = str(event.sequence)
    return Record(
        topic=data.topic,
        key=data.key().encode(),
        value=value,
        headers=tuple(headers.items()),
    )


def decode(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> Event[EventData]:
    """Return the event in a record's value and headers.

    Raises:
        Undecodable: a header is missing or wrong, the type is unknown, or the data does not fit it.
    """
    attributes = _attributes(headers)
    if attributes.get("ce_specversion") != SPEC_VERSION:
        raise Undecodable("header ce_specversion is not 1.0")
    kind = CATALOGUE.get(_required(attributes, "ce_type"))
    if kind is None:
        raise Undecodable("header ce_type names no known event type")
    if value is None:
        raise Undecodable("the record has no value")
    try:
        return Event[EventData](
            id=_required(attributes, "ce_id"),
            source=_required(attributes, "ce_source"),
            time=_required(attributes, "ce_time"),
            sequence=attributes.get("ce_sequence"),
            data=kind.model_validate_json(value),
        )
    except ValidationError as error:
        raise Undecodable(_reasons(error)) from None


def _redacted(data: EventData) -> tuple[EventData, bytes]:
    """Return data without its secrets, which its key must not have either, and its JSON."""
    value, violations = redact_json(data.model_dump_json().encode())
    return (type(data).model_validate_json(value) if violations else data), value


def _attributes(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Return the headers that are read, as text; of a repeated one the first counts."""
    attributes: dict[str, str] = {}
    for name, raw in headers:
        if name in READ and name not in attributes and raw is not None:
            try:
                attributes[name] = raw.decode()
            except UnicodeDecodeError:
                raise Undecodable(f"header {name} is not UTF-8") from None
    return attributes


def _required(attributes: dict[str, str], name: str) -> str:
    try:
        return attributes[name]
    except KeyError:
        raise Undecodable(f"header {name} is missing") from None


def _reasons(error: ValidationError) -> str:
    """Say which fields are wrong and how, in pydantic's names for it; its sentences may repeat a part of the value."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'value'}: {p['type']}" for p in problems[:5])
