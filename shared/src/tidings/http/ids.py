"""Ids in a path: UUIDs, in the canonical text form only (RFC 9562, section 4), as the API documents say."""

import re
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator

CANONICAL = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _canonical(text: Any) -> Any:
    if isinstance(text, str) and not CANONICAL.fullmatch(text):
        raise ValueError("an id is a UUID as it was answered: 32 hexadecimal digits in groups of 8-4-4-4-12")
    return text


Id = Annotated[UUID, BeforeValidator(_canonical)]
"""The id of a thing; pydantic alone also takes `urn:uuid:…`, braces, and digits without groups."""
