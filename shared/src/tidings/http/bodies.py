"""Bodies: what every request body has in common, and how an answer writes a moment."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema, field_validator


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Time = Annotated[
    datetime,
    PlainSerializer(_rfc3339),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-02T03:04:05.678901Z"]}),
]
"""A moment in an answer: RFC 3339, UTC, always with microseconds, so that its text sorts as it does."""


class Body(BaseModel):
    """A JSON body: each field of its exact type, each text made of whole characters."""

    model_config = ConfigDict(strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _whole_characters(cls, value: Any) -> Any:
        """Refuse half a surrogate pair: JSON can spell it, UTF-8 and so no store of ours can."""
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("contains half of a surrogate pair, which is no character")
        return value
