"""The codec: an event to a Kafka record and back, in CloudEvents 1.0 binary mode; structured mode is read too.

Source: CloudEvents, Kafka Protocol Binding 1.0.2, section 3.2.
"""

from datetime import UTC
from functools import cache

from pydantic import ValidationError
from pydantic_core import from_json

from tidings.events.catalogue import CATALOGUE
from tidings.events.envelope import Event, EventData
from tidings.events.fields import MISFIT
from tidings.events.record import JSON, RawHeaders, Record, Undecodable, utf8_of
from tidings.events.redaction import redact_json
from tidings.events.structured import in_binary_mode

SPEC_VERSION = "1.0"

READ = frozenset({"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_sequence"})


def encode(event: Event[EventData]) -> Record:
    """Return the record of `event`: attributes as `ce_` headers, data as JSON; no secret is in either."""
    data, value = _redacted(event.data)
    key = data.key()
    headers = [
        *_type_headers(type(data)),
        ("ce_id", str(event.id)),
        ("ce_source", event.source),
        ("ce_time", event.time.astimezone(UTC).isoformat(timespec="microseconds")),
        ("ce_partitionkey", key),
    ]
    if subject := data.subject():
        headers.append(("ce_subject", subject))
    if event.sequence is not None:
        headers.append(("ce_sequence", str(event.sequence)))
    return Record(topic=data.topic, key=key.encode(), value=value, headers=tuple(headers))


@cache
def _type_headers(kind: type[EventData]) -> tuple[tuple[str, str], ...]:
    """Return the headers that every event of a type has in common."""
    return (
        ("ce_specversion", SPEC_VERSION),
        ("ce_type", kind.type()),
        ("ce_dataschema", kind.dataschema()),
        ("content-type", JSON),
    )


def decode(value: bytes | None, headers: RawHeaders) -> Event[EventData]:
    """Return the event in a record's value and headers, in whichever mode it is.

    Raises:
        Undecodable: an attribute is missing or wrong, the type is unknown, or the data does not fit it.
    """
    value, headers = in_binary_mode(value, headers)
    attributes = _attributes(headers)
    if _required(attributes, "ce_specversion") != SPEC_VERSION:
        raise Undecodable("ce_specversion is not 1.0")
    kind = CATALOGUE.get(_required(attributes, "ce_type"))
    if kind is None:
        raise Undecodable("ce_type names no known event type")
    if value is None:
        raise Undecodable("the record has no value")
    _require_numbers(value)
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


def _attributes(headers: RawHeaders) -> dict[str, str]:
    """Return the headers that are read, as text; of a repeated one the first counts."""
    attributes: dict[str, str] = {}
    for name, raw in headers:
        if name in READ and name not in attributes and raw is not None:
            attributes[name] = utf8_of(name, raw)
    return attributes


def _require_numbers(value: bytes) -> None:
    """Refuse NaN and Infinity, which are not JSON, also in fields that are not read; pydantic lets them pass."""
    if b"NaN" in value or b"Infinity" in value:
        try:
            from_json(value, allow_inf_nan=False)
        except ValueError:
            raise Undecodable("value: json_invalid") from None


def _required(attributes: dict[str, str], name: str) -> str:
    try:
        return attributes[name]
    except KeyError:
        raise Undecodable(f"{name} is missing") from None


def _reasons(error: ValidationError) -> str:
    """Say which fields are wrong and how; of pydantic's errors the name, since its sentences may repeat the value."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, p['loc'])) or 'value'}: {p['msg'] if p['type'] == MISFIT else p['type']}"
        for p in problems[:5]
    )
