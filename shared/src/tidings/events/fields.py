"""Types for the fields of events, so that the models accept exactly the JSON that their JSON Schema accepts."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

HYPHENATED_LENGTH = 36
MISFIT = "misfit"
"""The type of validation errors whose text is ours, and so never repeats a part of the value."""


def misfit(problem: str) -> PydanticCustomError:
    """Return the error of a value that does not fit its field."""
    return PydanticCustomError(MISFIT, "{problem}", {"problem": problem})


def _require_hyphens(value: Any) -> Any:
    # pydantic also takes UUIDs without hyphens, in braces and as URNs; only their lengths tell them apart here.
    if isinstance(value, str) and len(value) != HYPHENATED_LENGTH:
        raise misfit("is not a UUID with hyphens, as in 01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17")
    return value


def _without_zero_fraction(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Id = Annotated[UUID, BeforeValidator(_require_hyphens)]
"""A UUID as JSON Schema's `format: uuid` wants it: with hyphens, in small or capital letters (RFC 9562 section 4)."""

AnySpelling = BeforeValidator(_without_zero_fraction)
"""Lets a strict integer be written as 200.0 or 2e2, which are integers to JSON Schema; stands after the bounds."""
