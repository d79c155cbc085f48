"""The codec: what is written can be read, and what cannot be read says why without saying what."""

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.events import (
    CATALOGUE,
    ActivityGap,
    ApiRequest,
    Event,
    EventData,
    LoginFailed,
    MessageCreated,
    SessionEnded,
    SessionReuseDetected,
    SessionStarted,
    Undecodable,
    UserDeleted,
    UserDisabled,
    UserEnabled,
    UserPasswordChanged,
    UserRegistered,
    UserRenamed,
    UserRoleChanged,
    decode,
    encode,
)

Headers = list[tuple[str, bytes | None]]

ID = "018f0000-0000-7000-8000-000000000001"
OTHER = UUID("018f0000-0000-7000-8000-000000000002")
CANARY = "Canary-4711"

# Every character that UTF-8 can carry, NUL and emoji included.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
WORD = st.sampled_from(["admin", "logout"])
COUNT = st.integers(min_value=0, max_value=2**63 - 1)
ZONES = st.integers(min_value=-14 * 60, max_value=14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
# A day from either end of the calendar, where every zone's moment exists in UTC.
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=ZONES)  # noqa: DTZ001  # zones are drawn
DATA: st.SearchStrategy[EventData] = st.one_of(
    *(
        st.builds(kind, user_id=st.uuids(), username=NAME)
        for kind in (UserRegistered, UserRenamed, UserPasswordChanged, UserDeleted)
    ),
    *(
        st.builds(kind, user_id=st.uuids(), username=NAME, by=st.none() | st.uuids())
        for kind in (UserDisabled, UserEnabled)
    ),
    st.builds(UserRoleChanged, user_id=st.uuids(), username=NAME, role=WORD, by=st.none() | st.uuids()),
    *(
        st.builds(kind, user_id=st.uuids(), username=NAME, session_id=st.uuids())
        for kind in (SessionStarted, SessionReuseDetected)
    ),
    st.builds(SessionEnded, user_id=st.uuids(), username=NAME, session_id=st.uuids(), reason=WORD),
    st.builds(LoginFailed, user_id=st.none() | st.uuids(), reason=WORD, client=st.none() | NAME),
    st.builds(MessageCreated, message_id=st.uuids(), author_id=st.uuids(), author=NAME, length=COUNT),
    st.builds(ActivityGap, service=NAME.filter(bool), dropped=st.integers(min_value=1, max_value=2**63 - 1)),
    st.builds(
        ApiRequest,
        method=st.text(st.characters(exclude_categories=["Cs"]), max_size=16),
        route=st.none() | TEXT.filter(lambda text: len(text) <= 255),
        status=st.integers(min_value=100, max_value=599),
        duration_ms=st.floats(min_value=0, allow_infinity=False),
        response_bytes=COUNT,
        user_id=st.none() | st.uuids(),
        username=st.none() | NAME,
        request_id=st.none() | NAME,
        client=st.none() | NAME,
    ),
)
EVENTS: st.SearchStrategy[Event[EventData]] = st.builds(
    Event[EventData],
    id=st.uuids(),
    source=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255),
    time=MOMENTS,
    sequence=st.none() | COUNT,
    data=DATA,
)


def wire(value: object = None, **headers: str | bytes | None) -> tuple[bytes, Headers]:
    """A good record of an `api.request`, but for what is given; a header that is given as None is left out."""
    good: dict[str, str | bytes | None] = {
        "ce_specversion": "1.0",
        "ce_id": ID,
        "ce_source": "test",
        "ce_type": "tidings.api.request.v1",
        "ce_time": "2026-01-02T03:04:05.678901+00:00",
    }
    found = {name: text for name, text in (good | headers).items() if text is not None}
    data = value if value is not None else {"method": "GET", "status": 200, "duration_ms": 1.5}
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return body, [(name, text if isinstance(text, bytes) else text.encode()) for name, text in found.items()]


def refusal(value: bytes | None, headers: Headers) -> str:
    with pytest.raises(Undecodable) as caught:
        decode(value, headers)
    assert caught.value.__cause__ is None
    return str(caught.value)


@given(EVENTS)
def test_what_is_encoded_is_decoded_to_the_same_event(event: Event[EventData]) -> None:
    record = encode(event)
    found = decode(record.value, [(name, text.encode()) for name, text in record.headers])
    assert found == event
    assert type(found.data) is type(event.data)


def test_the_round_trip_covers_the_whole_catalogue() -> None:
    drawn: set[type] = set()

    @settings(max_examples=2_000, database=None, derandomize=True)
    @given(DATA)
    def draw(data: EventData) -> None:
        drawn.add(type(data))

    draw()
    assert drawn == set(CATALOGUE.values())


@given(EVENTS)
def test_a_record_goes_to_the_topic_of_its_type_under_its_key(event: Event[EventData]) -> None:
    record = encode(event)
    assert record.topic == event.data.topic
    assert record.key == event.data.key().encode()


def test_the_headers_are_those_of_cloudevents_binary_mode() -> None:
    user = UUID(ID)
    event: Event[EventData] = Event(
        id=user,
        source="tidings-auth",
        time=datetime(2026, 1, 2, 12, 4, 5, tzinfo=timezone(timedelta(hours=9))),
        sequence=7,
        data=UserRegistered(user_id=user, username="미나"),
    )
    record = encode(event)
    assert record.headers == (
        ("ce_specversion", "1.0"),
        ("ce_type", "tidings.user.registered.v1"),
        ("ce_dataschema", "urn:tidings:schema:user.registered.v1"),
        ("content-type", "application/json"),
        ("ce_id", ID),
        ("ce_source", "tidings-auth"),
        ("ce_time", "2026-01-02T03:04:05.000000+00:00"),
        ("ce_partitionkey", ID),
        ("ce_subject", ID),
        ("ce_sequence", "7"),
    )
    assert record.value.decode() == f'{{"user_id":"{ID}","username":"미나"}}'


def test_an_event_without_sequence_has_no_sequence_header() -> None:
    event: Event[EventData] = Event(source="s", data=ApiRequest(method="GET", status=200, duration_ms=1))
    assert "ce_sequence" not in dict(encode(event).headers)


@pytest.mark.parametrize(
    ("data", "subject"),
    [
        (SessionStarted(user_id=UUID(ID), username="mina", session_id=OTHER), ID),
        (MessageCreated(message_id=OTHER, author_id=UUID(ID), author="mina", length=1), str(OTHER)),
        (ApiRequest(method="GET", route="/api/messages/{id}", status=200, duration_ms=1), "/api/messages/{id}"),
        (ApiRequest(method="GET", status=404, duration_ms=1, user_id=UUID(ID)), None),
        (ActivityGap(service="tidings-auth", dropped=1), "tidings-auth"),
    ],
)
def test_the_subject_is_what_the_event_is_about(data: EventData, subject: str | None) -> None:
    assert dict(encode(Event(source="s", data=data)).headers).get("ce_subject") == subject


def test_a_record_of_another_producer_is_decoded() -> None:
    value, headers = wire({"method": "GET", "status": 200, "duration_ms": 1, "new": {"of": ["version", 2]}})
    event = decode(value, [("baggage", b"x"), *headers, ("ce_ours", b"x"), ("traceparent", None)])
    assert event.data == ApiRequest(method="GET", status=200, duration_ms=1)
    assert event.time == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.mark.parametrize("name", ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"])
def test_each_required_header_is_named_when_it_is_missing(name: str) -> None:
    value, headers = wire(**{name: None})
    assert name in refusal(value, headers)
    assert name in refusal(value, [*headers, (name, None)])


@pytest.mark.parametrize(
    "name", ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_sequence", "content-type"]
)
def test_a_header_that_is_not_utf8_is_named(name: str) -> None:
    assert name in refusal(*wire(**{name: CANARY.encode() + b"\xff"}))


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"ce_specversion": "0.3"}, "ce_specversion"),
        ({"ce_specversion": CANARY}, "ce_specversion"),
        ({"ce_type": CANARY}, "ce_type"),
        ({"ce_type": "tidings.api.request.v2"}, "ce_type"),
        ({"ce_type": "api.request"}, "ce_type"),
        ({"ce_id": CANARY}, "id"),
        ({"ce_id": ""}, "id"),
        ({"ce_source": ""}, "source"),
        ({"ce_source": CANARY * 30}, "source"),
        ({"ce_time": CANARY}, "time"),
        ({"ce_time": "2026-01-02T03:04:05"}, "time"),
        ({"ce_time": "2026-13-02T03:04:05Z"}, "time"),
        ({"ce_time": "10000-01-01T00:00:00Z"}, "time"),
        ({"ce_sequence": CANARY}, "sequence"),
        ({"ce_sequence": "-1"}, "sequence"),
        ({"ce_sequence": "9" * 5_000}, "sequence"),
        ({"ce_sequence": str(10**19)}, "sequence"),
    ],
)
def test_a_wrong_attribute_is_named_without_its_content(headers: dict[str, str], said: str) -> None:
    message = refusal(*wire(**headers))
    assert said in message
    assert CANARY not in message


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
def test_a_moment_that_utc_cannot_express_is_undecodable(moment: str) -> None:
    assert "time" in refusal(*wire(ce_time=moment))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "200"),
        ("duration_ms", "200"),
        ("duration_ms", True),
        ("response_bytes", "200"),
        ("response_bytes", True),
        ("response_bytes", 1.5),
    ],
)
def test_numbers_on_the_wire_are_numbers(field: str, value: object) -> None:
    assert field in refusal(*wire({"method": "GET", "status": 200, "duration_ms": 1} | {field: value}))


DEEP = 100_000


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        CANARY.encode(),
        f'{{"method": "{CANARY}"'.encode(),
        f'"{CANARY}"'.encode(),
        {"method": CANARY},
        {"method": "GET", "status": CANARY, "duration_ms": 1},
        {"method": "GET", "status": 99, "duration_ms": 1},
        {"method": "GET", "status": 600, "duration_ms": 1},
        {"method": "GET", "status": None, "duration_ms": 1},
        {"method": "GET", "status": [CANARY], "duration_ms": 1},
        {"method": "GET", "status": 200, "duration_ms": -1},
        {"method": "GET", "status": 200, "duration_ms": {CANARY: CANARY}},
        {"method": CANARY * 2, "status": 200, "duration_ms": 1},
        {"method": "GET", "status": 200, "duration_ms": 1, "route": CANARY * 30},
        {"method": "GET", "status": 200, "duration_ms": 1, "user_id": CANARY},
        b'{"method": "GET", "status": 200, "duration_ms": NaN}',
        b'{"method": "GET", "status": 200, "duration_ms": 1, "response_bytes": ' + b"9" * 10_000 + b"}",
        b'{"method": "\\ud800", "status": 200, "duration_ms": 1}',
        b'{"method": "\\ud800' + CANARY.encode() + b'", "status": 200, "duration_ms": 1}',
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"later": ' + b"[" * DEEP + b"]" * DEEP + b', "method": "GET", "status": 200, "duration_ms": 1}',
        b'{"a":' * DEEP,
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_wrong_value_is_undecodable_and_its_content_is_not_repeated(value: object) -> None:
    message = refusal(*wire(value))
    assert CANARY not in message
    assert len(message) < 1_000


def test_a_record_without_value_is_undecodable() -> None:
    assert "no value" in refusal(None, wire()[1])


@pytest.mark.parametrize(
    "good",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"; x=y',
        'application/json; x="; charset=utf-16"',
        "application/json; charset=us-ascii",
        "Application/JSON ;x=y",
        b"application/json",
    ],
)
def test_content_type_json_in_utf8_or_none_is_read(good: str | bytes | None) -> None:
    value, headers = wire(**{"content-type": good})
    assert decode(value, [*headers, ("content-type", None)]).id == UUID(ID)


@pytest.mark.parametrize("data", [None, b"", b"\x00Obj\x01 Avro"], ids=repr)
@pytest.mark.parametrize("attributes", [True, False])
@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "text/plain",
        "application/avro",
        "application/jsonp",
        "application/cloudevents",
        "application/cloudevents-batch+json",
        "application/cloudevents+avro",
        "Application/CloudEvents+Protobuf; charset=utf-8",
        f"text/{CANARY}; application/json",
        "application/json; charset=utf-16",
        "application/json; charset=",
        f"application/json; charset={CANARY}",
        "application/json; charset*=utf-8''utf-16",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json; charset=utf-16; charset=utf-8",
        "application/json; charset=utf-8; Charset=utf-8",
        "application/json; charset=utf-8; x=y; charset",
        "application/json; charset=utf-8; charset*=utf-8''utf-8",
        "application/json; charset=utf-8; charset*0=utf-8",
        "application/cloudevents+json; charset=utf-8; charset=utf-8",
        "application/cloudevents+json; charset=utf-16",
        "application/json;" + "a=b;" * 100,
        'application/json;"' * 50_000,
    ],
    ids=lambda wrong: wrong[:50],
)
def test_another_content_type_is_named_before_anything_else(wrong: str, attributes: bool, data: bytes | None) -> None:
    _, headers = wire(**{"content-type": wrong})
    shown = refusal(data, headers if attributes else [("content-type", wrong.encode())])
    said = (
        "content-type is neither application/json nor application/cloudevents+json in UTF-8, and nothing else is read"
    )
    assert shown == said


@pytest.mark.parametrize("second", ["text/plain", "application/cloudevents+json", b"\xff"])
def test_first_of_two_content_types_counts(second: str | bytes) -> None:
    value, headers = wire(**{"content-type": "application/json"})
    repeated = ("content-type", second if isinstance(second, bytes) else second.encode())
    assert decode(value, [*headers, repeated]).id == UUID(ID)
    assert "content-type" in refusal(value, [("content-type", b"application/avro"), *headers])


@pytest.mark.parametrize("name", ["baggage", "ce_ours", "CE_ID", f"ce_{CANARY}\n", ""])
def test_a_foreign_header_is_not_read_so_it_may_hold_anything(name: str) -> None:
    value, headers = wire()
    for raw in (b"\xff", None):
        assert decode(value, [(name, raw), *headers, (name, raw)]).id == UUID(ID)


@pytest.mark.parametrize("repeat", [b"018f0000-0000-7000-8000-000000000002", b"forged", b"\xff", b"", None])
def test_of_a_repeated_header_the_first_counts_whatever_the_others_are(repeat: bytes | None) -> None:
    value, headers = wire()
    event = decode(value, [*headers, ("ce_id", repeat), ("ce_source", repeat), ("ce_specversion", repeat)])
    assert (event.id, event.source) == (UUID(ID), "test")


def test_the_message_lists_at_most_five_problems() -> None:
    everything = {"method": 1, "route": 1, "status": "x", "duration_ms": "x", "response_bytes": "x", "user_id": "x"}
    assert refusal(*wire(everything)).count(";") == 4


@given(
    st.none() | st.binary(max_size=200),
    st.lists(
        st.tuples(
            st.sampled_from(
                [*(name for name, _ in wire()[1]), "ce_sequence", "content-type", "traceparent", "tracestate"]
            ),
            st.none()
            | st.binary(max_size=40)
            | st.sampled_from([b"application/json", b"application/cloudevents+json", *(text for _, text in wire()[1])]),
        ),
        max_size=12,
    ),
)
def test_no_bytes_whatever_raise_anything_but_undecodable(value: bytes | None, headers: Headers) -> None:
    try:
        decode(value, headers)
    except Undecodable:
        return


@settings(max_examples=30)
@given(st.recursive(st.none() | st.booleans() | st.floats() | TEXT, lambda x: st.lists(x) | st.dictionaries(TEXT, x)))
def test_no_json_whatever_raises_anything_but_undecodable(document: object) -> None:
    for kind in CATALOGUE:
        try:
            decode(*wire(json.dumps(document).encode(), ce_type=kind))
        except Undecodable:
            continue
