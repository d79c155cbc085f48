"""Bodies: whole characters only, exact types, and moments whose text sorts as they do."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from tidings.http.bodies import Body, Time


class Sent(Body):
    text: str = ""
    secret: SecretStr = SecretStr("")
    count: int = 0


class Answered(BaseModel):
    at: Time


def written(moment: datetime) -> Any:
    return Answered(at=moment).model_dump(mode="json")["at"]


@pytest.mark.parametrize("field", ["text", "secret"])
@pytest.mark.parametrize("half", ["\\ud800", "\\udfff", "\\udc00\\ud800"])
def test_half_of_a_surrogate_pair_is_no_character(field: str, half: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Sent.model_validate_json(f'{{"{field}": "a{half}b"}}')
    assert [problem["loc"] for problem in caught.value.errors()] in ([(field,)], [()])
    with pytest.raises(ValidationError, match="surrogate"):
        Sent.model_validate({field: "a\ud800b"})


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert Sent.model_validate_json('{"text": "\\ud83c\\udf24"}').text == "🌤"


@pytest.mark.parametrize(("field", "value"), [("count", "1"), ("count", True), ("text", 1), ("secret", 1)])
def test_each_field_has_its_exact_type(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        Sent.model_validate({field: value})


def test_a_moment_is_always_written_with_microseconds() -> None:
    assert written(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05.000000Z"
    assert written(datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)) == "2026-01-02T03:04:05.678901Z"


def test_a_moment_long_ago_is_written_with_four_digits_too() -> None:
    assert written(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00.000000Z"
