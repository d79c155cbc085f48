"""Structured mode: the whole event in the value says the same as headers would, and is refused as clearly."""

import base64
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.events import ApiRequest, Event, EventData, Undecodable, decode, encode, in_binary_mode
from tidings.telemetry.propagation import carrier_from_headers
from unit.test_codec import CANARY, DEEP, EVENTS, ID

CONTENT_TYPE = ("content-type", b"application/cloudevents+json; charset=utf-8")
DATA = {"method": "GET", "status": 200, "duration_ms": 1.5}
CONTEXT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER_CONTEXT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def envelope(**changed: Any) -> bytes:
    """A good `api.request` event, but for what is given; an attribute that is given as `...` is left out."""
    good: dict[str, Any] = {
        "specversion": "1.0",
        "id": ID,
        "source": "/teams/search",
        "type": "tidings.api.request.v1",
        "time": "2026-01-02T03:04:05.678901Z",
        "datacontenttype": "application/json",
        "data": DATA,
    }
    return json.dumps({name: value for name, value in (good | changed).items() if value is not ...}).encode()


def refusal(value: bytes | None) -> str:
    with pytest.raises(Undecodable) as caught:
        decode(value, [CONTENT_TYPE])
    assert caught.value.__cause__ is None
    assert CANARY not in str(caught.value)
    return str(caught.value)


@given(EVENTS)
def test_both_modes_say_the_same(event: Event[EventData]) -> None:
    record = encode(event)
    attributes = {name.removeprefix("ce_"): text for name, text in record.headers if name.startswith("ce_")}
    for data in ({"data": json.loads(record.value)}, {"data_base64": base64.b64encode(record.value).decode()}):
        found = decode(json.dumps(attributes | data).encode(), [CONTENT_TYPE])
        assert found == event
        assert type(found.data) is type(event.data)


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/cloudevents+json",
        b"Application/CloudEvents+JSON",
        b"application/cloudevents+json;charset=UTF-8",
        b" application/cloudevents+json ; charset=utf-8",
    ],
)
def test_the_content_type_tells_the_mode(content_type: bytes) -> None:
    event = decode(envelope(), [("content-type", None), ("content-type", content_type)])
    assert (event.id, event.source, event.data) == (UUID(ID), "/teams/search", ApiRequest.model_validate(DATA))


@pytest.mark.parametrize(
    "changed",
    [
        {"sequence": None, "subject": None, "dataschema": None, "datacontenttype": None, "data_base64": None},
        {"datacontenttype": ...},
        {"datacontenttype": "application/JSON; charset=utf-8"},
        {"sequence": "7", "partitionkey": "k", "subject": "s", "dataschema": "urn:x", "theirs": {"any": [1, None]}},
        {"data": DATA | {"later": {"of": ["version", 2]}}},
    ],
    ids=repr,
)
def test_what_an_envelope_may_hold(changed: dict[str, Any]) -> None:
    assert decode(envelope(**changed), [CONTENT_TYPE]).data == ApiRequest.model_validate(DATA)


def test_attributes_among_the_headers_do_not_count() -> None:
    foreign = [("ce_id", b"\xff"), ("ce_type", b"other"), CONTENT_TYPE]
    assert decode(envelope(), foreign).id == UUID(ID)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        *(({name: ...}, name) for name in ("specversion", "id", "source", "type", "time")),
        *(({name: 1}, name) for name in ("specversion", "id", "source", "type", "time", "sequence", "subject")),
        *(({name: [CANARY]}, name) for name in ("id", "partitionkey", "dataschema", "datacontenttype")),
        ({"specversion": "0.3"}, "specversion is not 1.0"),
        ({"specversion": "2.0"}, "specversion is not 1.0"),
        ({"id": CANARY}, "id"),
        ({"source": ""}, "source"),
        ({"type": CANARY}, "type"),
        ({"time": CANARY}, "time"),
        ({"sequence": "-1"}, "sequence"),
        ({"datacontenttype": "text/plain"}, "datacontenttype is not application/json"),
        ({"datacontenttype": CANARY}, "datacontenttype is not application/json"),
        ({"datacontenttype": "application/json; charset=utf-16"}, "datacontenttype is not application/json in UTF-8"),
        ({"datacontenttype": "application/json; charset=utf-8; charset=utf-8"}, "datacontenttype is not"),
        ({"data": ...}, "the event has no data"),
        ({"data": None}, "the event has no data"),
        ({"data": ..., "data_base64": None}, "the event has no data"),
        ({"data": CANARY}, "value: model_type"),
        ({"data": DATA | {"status": CANARY}}, "status"),
        ({"data": DATA | {"status": 99}}, "status"),
        ({"data": ..., "data_base64": CANARY}, "data_base64 is not base64"),
        ({"data": ..., "data_base64": "Canary-한글"}, "data_base64 is not base64"),
        ({"data": ..., "data_base64": "e30=\n"}, "data_base64 is not base64"),
        ({"data": ..., "data_base64": ""}, "json_invalid"),
        ({"data": ..., "data_base64": 7}, "data_base64 is not a string"),
        ({"data_base64": base64.b64encode(json.dumps(DATA).encode()).decode()}, "both data and data_base64"),
    ],
    ids=repr,
)
def test_what_is_wrong_is_named_without_its_content(changed: dict[str, Any], said: str) -> None:
    assert said in refusal(envelope(**changed))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        CANARY.encode(),
        envelope()[:-1],
        b"[" * DEEP,
        b'{"data":' * DEEP,
        b'{"specversion": "1.0", "data": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"data": ' + b"9" * 10_000 + b"}",
        b'{"id": "\\ud800"}',
        envelope(data=DATA | {"duration_ms": float("nan")}),
        envelope(theirs=float("inf")),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_value_that_is_no_json_object_is_undecodable(value: bytes) -> None:
    assert refusal(value) == "the value is not a JSON object"


def test_a_tombstone_is_undecodable() -> None:
    assert refusal(None) == "the record has no value"


@pytest.mark.parametrize(
    ("headers", "inside", "carrier"),
    [
        ([], {"traceparent": CONTEXT}, {"traceparent": CONTEXT}),
        ([], {"traceparent": CONTEXT, "tracestate": "a=1"}, {"traceparent": CONTEXT, "tracestate": "a=1"}),
        ([("traceparent", None)], {"traceparent": CONTEXT}, {"traceparent": CONTEXT}),
        (
            [("traceparent", OTHER_CONTEXT.encode())],
            {"traceparent": CONTEXT, "tracestate": "a=1"},
            {"traceparent": OTHER_CONTEXT},
        ),
        ([("traceparent", CONTEXT.encode()), ("traceparent", OTHER_CONTEXT.encode())], {"traceparent": CONTEXT}, {}),
        ([], {"traceparent": 7, "tracestate": ["a=1"]}, {}),
        ([], {"traceparent": None}, {}),
    ],
)
def test_the_trace_context_inside_counts_where_the_record_has_none(
    headers: list[tuple[str, bytes | None]], inside: dict[str, Any], carrier: dict[str, str]
) -> None:
    value, found = in_binary_mode(envelope(**inside), [CONTENT_TYPE, *headers])
    assert carrier_from_headers(found) == carrier
    assert decode(value, found).id == UUID(ID)


@given(st.dictionaries(st.sampled_from(["specversion", "id", "type", "time", "data", "data_base64"]), st.text()))
def test_no_envelope_whatever_raises_anything_but_undecodable(changed: dict[str, Any]) -> None:
    try:
        decode(envelope(**changed), [CONTENT_TYPE])
    except Undecodable:
        return


@given(st.binary(max_size=100))
def test_no_bytes_whatever_raise_anything_but_undecodable(value: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(value, [CONTENT_TYPE])
