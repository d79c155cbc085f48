"""Examples: whole records, as a consumer meets them and as a producer may write them."""

import json
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import UUID

from pydantic import ValidationError

from tidings.contracts import ContractError
from tidings.contracts.schemas import schema_of
from tidings.events import Event, EventData, decode, encode, in_binary_mode
from tidings.events.topics import ACTIVITY, REGISTRY

ID = UUID("01980d2c-44b1-7a6e-95f3-c81b20d46e7a")
TIME = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Example(TypedDict):
    """One record; its value is JSON."""

    topic: str
    key: str
    headers: dict[str, str]
    value: Any


def example_of(kind: type[EventData]) -> Example:
    """Return the record of an event of `kind`, with the data that its model gives as an example.

    Raises:
        ContractError: it gives none, or none that fits it.
    """
    event: Event[EventData] = Event(
        id=ID,
        source=REGISTRY[kind.topic].producers[0],
        time=TIME,
        sequence=None if kind.topic == ACTIVITY else 1,
        data=_data(kind),
    )
    record = encode(event)
    return Example(
        topic=record.topic,
        key=record.key.decode(),
        headers=dict(record.headers) | {"traceparent": TRACEPARENT},
        value=json.loads(record.value),
    )


def _data(kind: type[EventData]) -> EventData:
    try:
        return kind.model_validate_json(json.dumps(schema_of(kind)["examples"][0]))
    except (LookupError, ValidationError) as error:
        raise ContractError(
            f"{kind.__name__} needs examples in json_schema_extra, the first of which fits: {error}"
        ) from error


def read(example: Example) -> Event[EventData]:
    """Return the event in `example`, as a consumer of today reads it.

    Raises:
        Undecodable: it is none.
    """
    return decode(*_wire(example))


def data_in(example: Example) -> Any:
    """Return the data in `example` as its producer wrote it."""
    value, _ = in_binary_mode(*_wire(example))
    return json.loads(value or b"null")


def _wire(example: Example) -> tuple[bytes, list[tuple[str, bytes | None]]]:
    headers: list[tuple[str, bytes | None]] = [(name, text.encode()) for name, text in example["headers"].items()]
    return json.dumps(example["value"]).encode(), headers
