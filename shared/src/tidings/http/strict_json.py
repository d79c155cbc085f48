"""Strict JSON: a text that two parsers could read differently is refused (RFC 8259, RFC 7493)."""

import json
from typing import Any


def parse_json(document: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: the text is not UTF-8, is not JSON, has a name twice in one object, or is too much for the parser
            (nested too deeply, a number of thousands of digits).
    """
    try:
        return _JSON.decode(document.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is in an object twice")
    return members


def _refuse_constant(name: str) -> Any:
    """Refuse `NaN` and `Infinity`, which Python's parser takes and RFC 8259 does not have."""
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
