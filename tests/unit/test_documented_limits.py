"""The limits in the API documents: never stricter than the service, and exact where JSON Schema can say it.

The validator is one that reads patterns as JSON Schema says, by the rules of ECMAScript. To Python's own `re`, `$` also
matches before a newline at the end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from pydantic import SecretStr, TypeAdapter, ValidationError

from support.documents import api_documents, operations
from tidings.http.idempotency import KeyText
from tidings.http.ids import Id
from tidings.http.pages import BadCursor, Limit, cursor_parameter, decode_cursor, encode_cursor
from tidings_auth import admin_routes
from tidings_auth.policy import allowed
from tidings_auth.schemas import AccountChange, Confirmation, Credentials, NewAccount
from tidings_auth.settings import PasswordSettings
from tidings_log_consumer.reading import KEY_LENGTH
from tidings_log_consumer.routes import EventType, TraceId
from tidings_messages.posting import MAX_GIVEN, MAX_LENGTH
from tidings_messages.schemas import NewMessage

Schema = dict[str, Any]
PASSWORD = "correct horse battery"


def _documents() -> dict[str, dict[str, Any]]:
    with TemporaryDirectory() as folder:
        return api_documents(Path(folder))


DOCUMENTS = _documents()


def field_schema(name: str, field: str) -> Schema:
    """Return the schema of a body's field."""
    schemas = {key: schema for it in DOCUMENTS.values() for key, schema in it["components"]["schemas"].items()}
    found: Schema = schemas[name]["properties"][field]
    return schemas[found["$ref"].rsplit("/", 1)[1]] if "$ref" in found else found


def parameter_schema(operation_id: str, name: str) -> Schema:
    """Return the schema of an operation's parameter."""
    for document in DOCUMENTS.values():
        for _, _, operation in operations(document):
            for parameter in operation.get("parameters", []):
                if (operation["operationId"], parameter["name"]) == (operation_id, name):
                    found: Schema = parameter["schema"]
                    return found
    raise LookupError(name)


def takes(kind: Any, field: str | None = None, **others: Any) -> Callable[[Any], bool]:
    """Return whether the service takes a value, as a parameter or as the field of a body."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def taken(value: Any) -> bool:
        try:
            adapter.validate_python({field: value, **others} if field else value)
        except ValidationError:
            return False
        return True

    return taken


def takes_password(text: str) -> bool:
    try:
        allowed(SecretStr(text), "nobody's name", PasswordSettings(), "password")
    except RequestValidationError:
        return False
    return True


def takes_cursor(length: int) -> Callable[[str], bool]:
    def taken(text: str) -> bool:
        try:
            return len(decode_cursor(text, length)) == length
        except BadCursor:
            return False

    return taken


@dataclass(frozen=True)
class Limited:
    """Something that a caller sends: what the document says of it, and what the service takes."""

    schema: Schema
    taken: Callable[[str], bool]
    alphabet: str = "aZ5-_.~!A0 \t\0é가🌤"

    def valid(self, text: str) -> bool:
        return Draft202012Validator(self.schema).is_valid(text)

    def texts(self) -> st.SearchStrategy[str]:
        """Return any text, and those whose length is at the limits."""
        lengths = {self.schema.get(limit, 0) + more for limit in ("minLength", "maxLength") for more in (-1, 0, 1)}
        characters = st.one_of(st.sampled_from(self.alphabet), st.characters(codec="utf-8"))
        at_limits = st.builds(lambda length, fill: fill * length, st.sampled_from(sorted(lengths - {-1})), characters)
        matching = [st.from_regex(self.schema["pattern"], fullmatch=True)] if "pattern" in self.schema else []
        return st.one_of(st.text(characters, max_size=80), at_limits, *matching)


EXACT = {
    "idempotency key": Limited(parameter_schema("postMessage", "Idempotency-Key"), takes(KeyText)),
    "trace id": Limited(parameter_schema("listLogs", "trace_id"), takes(TraceId), "0af9-G"),
    "event type": Limited(parameter_schema("listLogs", "type"), takes(EventType)),
    "username to look for": Limited(parameter_schema("listUsers", "username"), takes(admin_routes.Username)),
    "username to sign in": Limited(
        field_schema("Credentials", "username"), takes(Credentials, "username", password=PASSWORD)
    ),
    "password to sign in": Limited(
        field_schema("Credentials", "password"), takes(Credentials, "password", username="mina")
    ),
    "password to confirm": Limited(field_schema("Confirmation", "password"), takes(Confirmation, "password")),
    "cursor by id": Limited(parameter_schema("listMessages", "cursor"), takes_cursor(16), "AQgwBZ-_=+"),
    "cursor of the log": Limited(parameter_schema("listLogs", "cursor"), takes_cursor(KEY_LENGTH), "AQgwBZ-_=+"),
}
NEVER_STRICTER = EXACT | {
    "username": Limited(field_schema("NewAccount", "username"), takes(NewAccount, "username", password=PASSWORD)),
    "message": Limited(field_schema("NewMessage", "message"), takes(NewMessage, "message")),
    "password": Limited(field_schema("NewAccount", "password"), takes_password),
    "new password": Limited(field_schema("PasswordChange", "new_password"), takes_password),
}


@pytest.mark.parametrize("name", NEVER_STRICTER)
@given(data=st.data())
def test_schema_allows_whatever_the_service_takes(name: str, data: st.DataObject) -> None:
    limited = NEVER_STRICTER[name]
    text = data.draw(limited.texts())
    assert limited.valid(text) or not limited.taken(text)


@pytest.mark.parametrize("name", EXACT)
@given(data=st.data())
def test_service_takes_whatever_the_schema_allows(name: str, data: st.DataObject) -> None:
    limited = EXACT[name]
    text = data.draw(limited.texts())
    assert limited.taken(text) or not limited.valid(text)


@given(st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF), max_size=60))
def test_message_schema_is_exact_up_to_its_longest(text: str) -> None:
    message = NEVER_STRICTER["message"]
    assert message.valid(text) == message.taken(text)


def test_message_of_one_character_is_documented_exactly() -> None:
    message = NEVER_STRICTER["message"]
    characters = [chr(code) for code in range(0x10000) if not 0xD800 <= code <= 0xDFFF]
    assert [it for it in characters if message.valid(it) != message.taken(it)] == []


def test_message_limits_hold_before_and_after_trimming() -> None:
    message = NEVER_STRICTER["message"]
    for spaces, characters, taken in [
        (MAX_GIVEN - MAX_LENGTH, MAX_LENGTH, True),
        (MAX_GIVEN - MAX_LENGTH + 1, MAX_LENGTH, False),
        (MAX_GIVEN - 1, 1, True),
        (MAX_GIVEN, 1, False),
    ]:
        text = " " * spaces + "a" * characters
        assert (message.valid(text), message.taken(text)) == (taken, taken)


def test_username_schema_is_exact_for_ascii() -> None:
    username = NEVER_STRICTER["username"]
    names = [f"mina{chr(code)}" for code in range(0x80)]
    assert [name for name in names if username.valid(name) != username.taken(name)] == []


def test_one_character_that_nfc_makes_three_of_is_a_username() -> None:
    username = NEVER_STRICTER["username"]
    assert username.taken("\ufb2c")  # a Hebrew letter with two marks
    assert username.valid("\ufb2c")


@pytest.mark.parametrize("length", [7, 8, 256, 257])
def test_password_lengths_are_documented_exactly(length: int) -> None:
    password = NEVER_STRICTER["password"]
    text = "가나다라"[: length % 4] + "쿄" * (length - length % 4)
    assert password.valid(text) == password.taken(text) == (8 <= length <= 256)


def test_password_minimum_in_the_document_is_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIDINGS_PASSWORD_MIN_LENGTH", "15")
    schemas = api_documents(tmp_path)["auth"]["components"]["schemas"]
    assert schemas["NewPassword"]["minLength"] == 15


@pytest.mark.parametrize("value", [-1, 0, 1, 100, 101, 1.5])
def test_limit_is_documented_exactly(value: float) -> None:
    schema = parameter_schema("listMessages", "limit")
    assert Draft202012Validator(schema).is_valid(value) == takes(Limit)(str(value))


@pytest.mark.parametrize("key_length", [1, 2, 3, 16, 24])
def test_cursor_pattern_fits_keys_of_any_length(key_length: int) -> None:
    schema = cursor_parameter(key_length).json_schema_extra
    assert Draft202012Validator({"type": "string", **schema}).is_valid(encode_cursor(b"\xff" * key_length))


ID = "01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17"


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (ID, True),
        (ID.upper(), True),
        (ID.replace("-", ""), False),
        (f"{{{ID}}}", False),
        (f"urn:uuid:{ID}", False),
        (ID + "\n", False),
        (ID[:-1], False),
        ("none", False),
    ],
)
def test_id_is_a_uuid_in_canonical_form(text: str, taken: bool) -> None:
    schema = parameter_schema("endSession", "session_id")
    assert takes(Id)(text) == taken
    assert Draft202012Validator(schema, validate_formats=True).is_valid(text) == taken


MEMBERS = st.sampled_from([None, True, False, "user", "admin", "king", 1])


@given(st.dictionaries(st.sampled_from(["disabled", "role", "other"]), MEMBERS))
def test_account_change_is_documented_exactly(change: dict[str, Any]) -> None:
    schema = DOCUMENTS["auth"]["components"]["schemas"]["AccountChange"]
    try:
        AccountChange.model_validate(change)
        taken = True
    except ValidationError:
        taken = False
    assert Draft202012Validator(schema).is_valid(change) == taken
