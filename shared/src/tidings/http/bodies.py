"""Bodies: what every request body has in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator


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
