"""Compatibility: each edit of an event's model is judged by whom it breaks, and a witness proves the verdict.

A witness is data that one side of the edit reads and the other refuses.
"""

import enum
import json
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, ValidationError, create_model

from tidings.contracts.compatibility import Breaks, Change, compare
from tidings.contracts.schemas import schema_of
from tidings.events import CATALOGUE, EventData

NOBODY, BACKWARD, FORWARD, BOTH = Breaks


class Color(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Place(BaseModel):
    room: str


class BiggerPlace(Place):
    floor: int | None = None


class StricterPlace(Place):
    floor: int


def number(low: int | None, high: int | None) -> Any:
    return Annotated[int, Field(ge=low, le=high)]


def text(length: int) -> Any:
    return Annotated[str, Field(max_length=length)]


def letters(pattern: str) -> Any:
    return Annotated[str, Field(min_length=1, pattern=pattern)]


ShortTag = Annotated[str, Field(max_length=5)]
LongTag = Annotated[str, Field(max_length=6)]

FIELDS: dict[str, Any] = {
    "id": (UUID, ...),
    "status": (number(100, 599), ...),
    "label": (letters("^[a-z]+$"), ...),
    "kind": (Literal["a", "b"], ...),
    "size": (int, 0),
    "note": (text(10) | None, None),
    "tags": (list[ShortTag], []),
    "color": (Color | None, None),
    "place": (Place | None, None),
}
DATA: dict[str, Any] = {"id": "018f0000-0000-7000-8000-000000000001", "status": 200, "label": "x", "kind": "a"}
IN_ROOM = {"place": {"room": "1"}}

EDITS: list[tuple[str, dict[str, Any], str, Breaks, Any]] = [
    ("an optional field more", {"more": (int | None, None)}, "more: is new and optional", NOBODY, None),
    ("a field more, with a default", {"more": (str, "x")}, "more: is new and optional", NOBODY, None),
    ("an optional one inside", {"place": (BiggerPlace | None, None)}, "place.floor: is new", NOBODY, None),
    ("a required field more", {"more": (int, ...)}, "more: is new and required", BACKWARD, {}),
    ("a required one inside", {"place": (StricterPlace | None, None)}, "place.floor: is", BACKWARD, IN_ROOM),
    ("a required field less", {"status": None}, "status: is gone", BOTH, {"status": ...}),
    ("an optional field less", {"size": None}, "size: is gone", BACKWARD, None),
    ("a field renamed", {"note": None, "remark": (str | None, None)}, "note: is gone", BACKWARD, None),
    ("optional made required", {"size": (int, ...)}, "size: optional → required", BACKWARD, {}),
    ("required made optional", {"kind": (Literal["a", "b"], "a")}, "kind: required → optional", FORWARD, {"kind": ...}),
    ("another default", {"size": (int, 1)}, "size: default 0 → 1", BACKWARD, None),
    ("another type", {"status": (str, ...)}, "status: type integer → string", BOTH, {}),
    ("null forbidden", {"note": (text(10), "")}, "note: type null or", BACKWARD, {"note": None}),
    ("null allowed", {"kind": (Literal["a", "b"] | None, ...)}, "kind: type string → null", FORWARD, {"kind": None}),
    ("a wider number", {"size": (float, 0)}, "size: type integer → integer or number", FORWARD, {"size": 0.5}),
    ("any type allowed", {"size": (Any, 0)}, "size: type integer → any", FORWARD, {"size": "x"}),
    ("a maximum lowered", {"status": (number(100, 499), ...)}, "status: maximum 599 → 499", BACKWARD, {"status": 500}),
    ("a maximum raised", {"status": (number(100, 999), ...)}, "status: maximum 599 → 999", FORWARD, {"status": 600}),
    ("a minimum raised", {"status": (number(200, 599), ...)}, "status: minimum 100 → 200", BACKWARD, {"status": 199}),
    ("a minimum lowered", {"status": (number(0, 599), ...)}, "status: minimum 100 → 0", FORWARD, {"status": 99}),
    ("a bound less", {"status": (number(100, None), ...)}, "status: maximum 599 → None", FORWARD, {"status": 600}),
    ("a bound more", {"size": (number(None, 9), 0)}, "size: maximum None → 9", BACKWARD, {"size": 10}),
    ("a length cut", {"note": (text(9) | None, None)}, "note: maxLength 10 → 9", BACKWARD, {"note": "x" * 10}),
    ("a value less", {"kind": (Literal["a"], ...)}, "kind: values a or b → a", BACKWARD, {"kind": "b"}),
    ("a value more", {"kind": (Literal["a", "b", "c"], ...)}, "kind: values a or b → a or b", FORWARD, {"kind": "c"}),
    ("other values", {"kind": (Literal["a", "z"], ...)}, "kind: values a or b → a or z", BOTH, {"kind": "b"}),
    ("an enumeration freed", {"color": (str | None, None)}, "color: values", FORWARD, {"color": "green"}),
    ("a format less", {"id": (str, ...)}, "id: format 'uuid' → None", BOTH, {"id": "x"}),
    ("another pattern", {"label": (letters("^[A-Z]+$"), ...)}, "label: pattern", BOTH, {}),
    ("longer items", {"tags": (list[LongTag], [])}, "tags[]: maxLength 5 → 6", FORWARD, {"tags": ["x" * 6]}),
    ("other items", {"tags": (list[int], [])}, "tags[]: type string → integer", BOTH, {"tags": ["x"]}),
    ("a choice of objects", {"place": (Place | BiggerPlace | None, None)}, "place: ", BOTH, None),
]
"""Edit, its fields, what is said of it, whom it breaks, and what only one side reads (on top of `DATA`).

Without the last both sides read what the other writes: nothing breaks, or it would come to mean something else.
"""


def model(**fields: Any) -> type[EventData]:
    """Return the model with `fields` instead of its own; one that is given as `None` is left out."""

    class Thing(EventData):
        name: ClassVar[str] = "thing"
        topic: ClassVar[str] = "things"

    wanted = {name: field for name, field in (FIELDS | fields).items() if field is not None}
    return create_model("Thing", __base__=Thing, **wanted)


def changes(**fields: Any) -> list[Change]:
    return list(compare(schema_of(model()), schema_of(model(**fields))))


def reads(kind: type[EventData], data: dict[str, Any]) -> bool:
    try:
        kind.model_validate_json(json.dumps({name: value for name, value in data.items() if value is not ...}))
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(("fields", "said", "breaks"), [edit[1:4] for edit in EDITS], ids=[edit[0] for edit in EDITS])
def test_an_edit_is_named_and_judged(fields: dict[str, Any], said: str, breaks: Breaks) -> None:
    found = changes(**fields)
    assert [change.breaks for change in found if f"{change.field}: {change.what}".startswith(said)] == [breaks]
    assert {change.breaks for change in found} <= {breaks, NOBODY}


@pytest.mark.parametrize(
    ("fields", "breaks", "witness"),
    [
        pytest.param(fields, breaks, witness, id=name)
        for name, fields, _, breaks, witness in EDITS
        if witness is not None
    ],
)
def test_a_witness_proves_the_verdict(fields: dict[str, Any], breaks: Breaks, witness: dict[str, Any]) -> None:
    before, after = reads(model(), DATA | witness), reads(model(**fields), DATA | witness)
    assert before != after
    assert breaks is BOTH or breaks is (BACKWARD if before else FORWARD)


def test_an_addition_breaks_no_reader() -> None:
    old, new = model(), model(more=(int | None, None))
    assert reads(new, DATA)
    assert reads(old, DATA | {"more": 7})


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_schema_does_not_differ_from_itself_nor_by_its_texts(name: str) -> None:
    schema = schema_of(CATALOGUE[name])
    texts = {"title": "another", "description": "another", "examples": []}
    assert list(compare(schema, schema | texts)) == []


def test_an_unchanged_model_has_no_changes() -> None:
    assert changes() == []
