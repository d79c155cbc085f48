"""The published JSON Schema of each event and the reader of the log accept exactly the same data.

The strategies write JSON texts, because JSON Schema and parsers differ over spellings: 200, 200.0 and 2e2
are one integer.
"""

import json
import re
from calendar import monthrange
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from aiokafka import ConsumerRecord
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from tidings.contracts.asyncapi import asyncapi
from tidings.events import CATALOGUE, ApiRequest, Event, EventData, MessageCreated, Undecodable, decode
from tidings_log_consumer.entries import entry_of
from tidings_log_consumer.tables import entries
from unit.test_codec import DEEP, refusal, wire
from unit.test_contracts import CONTRACTS

UUID_TEXT = "01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17"
CALL = '{"method": "GET", "status": 200, "duration_ms": 1.5, %s}'


def is_uuid(value: object) -> bool:
    """Return whether `value` is a UUID by the grammar of RFC 9562 section 4; jsonschema's own check is looser."""
    pattern = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    return not isinstance(value, str) or re.fullmatch(pattern, value, re.IGNORECASE | re.ASCII) is not None


def is_date_time(value: object) -> bool:
    """Return whether `value` is a `date-time` of RFC 3339 in the years 1 to 9999, as written and in UTC."""
    if not isinstance(value, str):
        return True
    parts = re.fullmatch(
        r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|([+-])(\d\d):(\d\d))", value, re.I | re.A
    )
    if not parts:
        return False
    year, month, day, hour, minute, second = map(int, parts.groups()[:6])
    east, offset_hour, offset_minute = parts[7] == "+", int(parts[8] or 0), int(parts[9] or 0)
    if hour > 23 or minute > 59 or second > 60 or offset_hour > 23 or offset_minute > 59:
        return False
    try:
        local = datetime(year, month, day, hour, minute, tzinfo=UTC)
        moment = local + timedelta(hours=offset_hour, minutes=offset_minute) * (-1 if east else 1)
    except (ValueError, OverflowError):
        return False
    before_midnight = (moment.hour, moment.minute) == (23, 59)
    return second < 60 or (before_midnight and moment.day == monthrange(moment.year, moment.month)[1])


FORMATS = FormatChecker(formats=())
FORMATS.checks("uuid")(is_uuid)
FORMATS.checks("date-time")(is_date_time)
VALIDATORS = {
    name: Draft202012Validator(contract.schema, format_checker=FORMATS) for name, contract in CONTRACTS.items()
}


def read(name: str, text: str) -> Event[EventData] | None:
    try:
        return decode(*wire(text.encode(), ce_type=name))
    except Undecodable:
        return None


# JSON texts of values at and beside every limit.

NUMBERS = [
    *(
        "0",
        "-0",
        "-0.0",
        "0e0",
        "0.0e-9",
        "-1",
        "-1.0",
        "1",
        "1.0",
        "1.000",
        "1e0",
        "100e-2",
        "0.1e1",
        "0.5",
        "1.5",
        "1e-400",
    ),
    *(
        f"{whole}{zeros}"
        for whole in (2, 99, 100, 200, 599, 600, 2**31, 2**63, 2**64, 10**30)
        for zeros in ("", ".0", "e0")
    ),
    *("2e2", "2E+2", "5.99e2", "599.5", "99.99999999999999", "9007199254740993", "9007199254740993.0", "1e30", "1e308"),
    "1" + "0" * 308,
]
UUIDS = [
    UUID_TEXT,
    UUID_TEXT.upper(),
    "00000000-0000-0000-0000-000000000000",
    UUID_TEXT.replace("-", ""),
    f"{{{UUID_TEXT}}}",
    f"urn:uuid:{UUID_TEXT}",
    f" {UUID_TEXT}",
    f"{UUID_TEXT}\n",
    f"{UUID_TEXT[:-1]}_",
    f"{UUID_TEXT[:-1]}７",
    UUID_TEXT[:-1],
    UUID_TEXT.replace("-", "", 1) + "-",
    UUID_TEXT.replace("-", "0"),
]
OTHERS = ["null", "true", "false", "[]", "{}", "[200]", '"200"', '"1.5"', '"null"', '""']
CHARACTERS = st.characters(exclude_categories=["Cs"])


def lengths(schema: Mapping[str, Any]) -> list[int]:
    limit = schema.get("maxLength", 36)
    return [0, 1, limit - 1, limit, limit + 1]


def texts_for(schema: Mapping[str, Any]) -> list[str]:
    """Return texts of values for a field with `schema`, some of which fit."""
    numbers = [
        *NUMBERS,
        *(str(schema[word] + step) for word in ("minimum", "maximum") if word in schema for step in (-1, 0, 1)),
    ]
    kinds = schema.get("anyOf", [schema])
    strings = [
        text * length for kind in kinds for length in lengths(kind) for text in ("a", "\0", "é", "\U0001f600", '"')
    ]
    escaped = [json.dumps(text, ensure_ascii=ascii_only) for text in strings + UUIDS for ascii_only in (True, False)]
    return [*OTHERS, *numbers, *escaped]


# Strategies of JSON texts.

ANYTHING = st.recursive(
    st.sampled_from(OTHERS + NUMBERS) | st.text(CHARACTERS).map(json.dumps) | st.floats(0, 1e300).map(json.dumps),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | inner.map(lambda item: f'{{"a": {item}, "a": 1}}')
    ),
    max_leaves=4,
)


def random_text_for(schema: Mapping[str, Any]) -> st.SearchStrategy[str]:
    """Return one of `texts_for`, or a string of random characters at a limit."""
    kind = schema.get("anyOf", [schema])[0]
    string = st.sampled_from(lengths(kind)).flatmap(
        lambda length: st.text(CHARACTERS, min_size=length, max_size=length)
    )
    return st.sampled_from(texts_for(schema)) | string.map(json.dumps) | ANYTHING


@st.composite
def data_texts(draw: st.DrawFn, schema: Mapping[str, Any]) -> str:
    """Return the text of an object: the example, some fields of which are left out, changed, repeated or added."""
    members = [(field, json.dumps(value)) for field, value in schema["examples"][0].items()]
    fields = schema["properties"]
    for field in draw(st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True)):
        members = draw(st.sampled_from([members, [member for member in members if member[0] != field]]))
        members = [*members, *((field, text) for text in draw(st.lists(random_text_for(fields[field]), max_size=2)))]
    extra = draw(st.dictionaries(st.text(CHARACTERS).filter(lambda name: name not in fields), ANYTHING, max_size=2))
    members = draw(st.permutations([*members, *extra.items()]))
    return object_of(members)


def object_of(members: Iterable[tuple[str, str]]) -> str:
    return f"{{{', '.join(f'{json.dumps(field)}: {text}' for field, text in members)}}}"


def check_agreement(name: str, text: str) -> bool:
    """Check that schema and reader agree about `text`; return whether they accept it."""
    found = read(name, text)
    assert (found is not None) == VALIDATORS[name].is_valid(json.loads(text)), text
    if found is None:
        return False
    require_storable(found)
    require_same_values(found.data, json.loads(text))
    return True


@pytest.mark.parametrize("name", CATALOGUE)
def test_schema_and_reader_accept_the_same_values_of_each_field(name: str) -> None:
    schema = CONTRACTS[name].schema
    example = {field: json.dumps(value) for field, value in schema["examples"][0].items()}
    for field, about in schema["properties"].items():
        outcomes = {check_agreement(name, object_of((example | {field: text}).items())) for text in texts_for(about)}
        assert outcomes == {True, False}, field
        without = object_of((other, text) for other, text in example.items() if other != field)
        assert check_agreement(name, without) == (field not in schema["required"])


@pytest.mark.parametrize("name", CATALOGUE)
def test_schema_and_reader_accept_the_same_data(name: str) -> None:
    @settings(max_examples=50, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(data_texts(CONTRACTS[name].schema) | ANYTHING)
    def agree(text: str) -> None:
        check_agreement(name, text)

    agree()


def require_storable(found: Event[EventData]) -> None:
    """Check that the row of the event fits its columns, which SQLite would not check."""
    row = entry_of(found, ConsumerRecord("t", 0, 0, 0, 0, None, b"", None, 0, 0, ()), None)
    for column in entries.c:
        length = getattr(column.type, "length", None)
        if length and isinstance(row.get(column.name), str):
            assert len(row[column.name]) <= length, column
    assert row["status"] is None or -(2**15) <= row["status"] < 2**15
    assert len(row["data"].encode()) < 2**24


def require_same_values(data: EventData, written: Mapping[str, Any]) -> None:
    """Check that the log keeps the values that were written; capitals of a UUID do not count."""
    for field, value in json.loads(data.model_dump_json(exclude_unset=True)).items():
        expected = written[field]
        if isinstance(getattr(data, field), UUID):
            expected = expected.lower()
        assert value == (float(expected) if isinstance(value, float) else expected), field


def test_the_checked_formats_are_all_that_the_schemas_state() -> None:
    stated = set(re.findall(r'"format": "([^"]+)"', json.dumps([contract.schema for contract in CONTRACTS.values()])))
    assert stated | {"date-time"} == set(FORMATS.checkers)


TWO_DIGITS = st.sampled_from(["00", "01", "02", "12", "23", "24", "28", "29", "30", "31", "59", "60", "61", "1"])
DATE_TIMES = st.tuples(
    st.sampled_from(["0000", "0001", "1900", "2000", "2016", "2026", "9999", "10000", "-001"]),
    st.just("-") | st.sampled_from(["", "/"]),
    st.sampled_from(["01", "02", "06", "12", "13", "00"]),
    st.just("-"),
    TWO_DIGITS,
    st.sampled_from("TTTTt _"),
    st.sampled_from(["23:59:60", "23:59:59", "00:00:00", "15:59:60", "08:59:60"])
    | st.tuples(TWO_DIGITS, TWO_DIGITS, TWO_DIGITS).map(":".join),
    st.sampled_from(["", "", ".", ".5", ".123456789", ",5"]),
    st.sampled_from(
        ["Z", "z", "", "+00:00", "-00:00", "-08:00", "+09:00", "+14:00", "+23:59", "-24:00", "+0900", "+9:00"]
    ),
    st.sampled_from(["", "", "", "", " ", "\n"]),
).map("".join)
HEADERS = {
    "ce_id": st.sampled_from(UUIDS) | st.text(CHARACTERS),
    "ce_source": st.sampled_from([0, 1, 255, 256]).flatmap(
        lambda length: st.text(CHARACTERS, min_size=length, max_size=length)
    ),
    "ce_time": DATE_TIMES | st.datetimes(timezones=st.timezones()).map(str) | st.text(CHARACTERS),
    "ce_sequence": st.integers(-1, 10**20).map(str)
    | st.sampled_from(
        ["", "0", "007", "0" * 19, "0" * 20, "9" * 19, "9" * 20, "+1", " 1", "1 ", "1_0", "1.0", "٣", "1e2"]
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_schema_and_reader_accept_the_same_headers(name: str) -> None:
    message = asyncapi()["components"]["messages"][ApiRequest.type()]
    validator = Draft202012Validator(message["headers"]["properties"][name], format_checker=FORMATS)
    outcomes = set()

    @settings(max_examples=300, database=None, derandomize=True)
    @given(HEADERS[name])
    def agree(text: str) -> None:
        try:
            found = bool(decode(*wire(**{name: text})))
        except Undecodable:
            found = False
        outcomes.add(found)
        assert found == validator.is_valid(text), text

    agree()
    assert outcomes == {True, False}


@pytest.mark.parametrize("written", ["200", "200.0", "200.000", "2e2", "2E+2", "20000e-2", "0.2e3"])
def test_an_integer_may_be_written_with_fraction_or_exponent(written: str) -> None:
    found = decode(*wire((CALL % f'"status": {written}').encode())).data
    assert isinstance(found, ApiRequest)
    assert (found.status, type(found.status)) == (200, int)
    assert '"status":200,' in found.model_dump_json()


def test_minus_zero_is_zero() -> None:
    text = CALL % '"response_bytes": -0.0'
    found = decode(*wire(text.encode())).data
    assert '"response_bytes":0,' in found.model_dump_json()


def test_an_integer_of_many_digits_is_kept_exactly() -> None:
    data = {"message_id": UUID_TEXT, "author_id": UUID_TEXT, "author": "mina", "length": 10**4299}
    found = decode(*wire(data, ce_type=MessageCreated.type())).data
    assert isinstance(found, MessageCreated)
    assert found.length == 10**4299


@pytest.mark.parametrize("written", ["200.5", "2.0000000001e2", "true", '"200"', "[200]", "1e999", "-200.0", "599.9"])
def test_what_is_not_an_integer_is_refused(written: str) -> None:
    assert "status" in refusal(*wire((CALL % f'"status": {written}').encode()))


@pytest.mark.parametrize(
    "member",
    [
        '"theirs": NaN',
        '"theirs": [Infinity]',
        '"theirs": {"a": -Infinity}',
        '"duration_ms": NaN',
        '"duration_ms": 1e999',
        '"duration_ms": 1' + "0" * 400,
        '"response_bytes": 1e999',
        '"theirs": ' + "9" * 4301,
        '"theirs": "\\ud800"',
        '"theirs": "\\udc00\\ud800"',
        '"\\ud800": 1',
        '"theirs": "\n"',
        '"theirs": "\x00"',
        '"theirs": ' + "[" * DEEP + "]" * DEEP,
    ],
    ids=lambda member: member[:30],
)
def test_what_json_or_its_interoperable_part_lacks_is_refused(member: str) -> None:
    """RFC 8259 sections 8.2 and 9 leave these to the parser; docs/events.md says what ours refuses."""
    assert refusal(*wire((CALL % member).encode())) in ("value: json_invalid", "duration_ms: finite_number") or (
        "response_bytes" in member
    )


@pytest.mark.parametrize("text", ["a NaN", "Infinity", "-Infinity NaN"])
def test_a_string_may_hold_the_words_that_are_not_numbers(text: str) -> None:
    assert decode(*wire((CALL % f'"theirs": "{text}", "NaN": 1').encode()))


@given(st.binary(max_size=60) | ANYTHING.map(str.encode))
def test_the_reader_refuses_every_value_that_is_not_json(value: bytes) -> None:
    def no_constant(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(value.decode(), parse_constant=no_constant)
    except ValueError:
        refusal(*wire(b'{"method": "GET", "status": 200, "duration_ms": 1, "theirs": ' + value + b"}"))
