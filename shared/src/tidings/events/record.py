"""The record: what Kafka carries of an event, and why a record may be none."""

from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message

JSON = "application/json"
UTF_8 = frozenset({"utf-8", "utf8", "us-ascii"})
LONGEST_CONTENT_TYPE = 255

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


def utf8_of(name: str, raw: bytes) -> str:
    """Return the text of the header `name`.

    Raises:
        Undecodable: it is not UTF-8.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Undecodable(f"header {name} is not UTF-8") from None


def media_type(content_type: str) -> str | None:
    """Return a content type in lower case, without its parameters; `None` unless its text is UTF-8.

    JSON needs no `charset` (RFC 8259 section 11), but one that is there must be UTF-8 or ASCII. Two are refused, also
    equal ones: each reader could believe another one. Source: RFC 9110 section 8.3.1.
    """
    name, has_parameters, _ = content_type.partition(";")
    if has_parameters and _charset(content_type) not in UTF_8:
        return None
    return name.strip().lower()


def _charset(content_type: str) -> str:
    """Return the one `charset` in lower case; UTF-8 when there is none, and "" when it is not clear which counts."""
    if len(content_type) > LONGEST_CONTENT_TYPE:  # the parser takes quadratic time
        return ""
    message = Message()
    message["content-type"] = content_type
    names = [name.lower() for name, _ in message.get_params([])]
    return message.get_content_charset("utf-8") if names.count("charset") < 2 else ""
