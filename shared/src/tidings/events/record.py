"""The record: what Kafka carries of an event, and why a record may be none."""

from collections.abc import Iterable
from dataclasses import dataclass

JSON = "application/json"

RawHeaders = Iterable[tuple[str, bytes | None]]
"""Headers as a Kafka client gives them; names may repeat."""


@dataclass(frozen=True)
class Record:
    """An event ready for the wire; its trace context is added when it is published."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, str], ...]


class Undecodable(ValueError):
    """A record is no event that Tidings knows; the message says why, without the record's content."""


def media_type(content_type: str) -> str:
    """Return a content type without its parameters, as it is compared (RFC 9110 section 8.3.1)."""
    return content_type.partition(";")[0].strip().lower()
