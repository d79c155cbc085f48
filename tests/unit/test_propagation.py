"""Trace propagation: a trace goes on over a carrier, and no header whatever breaks a consumer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from tidings.telemetry.propagation import (
    PROPAGATOR,
    carrier_from_headers,
    context_from,
    current_carrier,
    current_span_context,
    current_trace_id,
)
from unit.fakes import in_span

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def trace_of(carrier: dict[str, str]) -> str | None:
    context = get_current_span(context_from(carrier)).get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def test_outside_any_trace_there_is_nothing_to_carry() -> None:
    assert current_carrier() == {}
    assert current_trace_id() is None
    assert current_span_context() is None


def test_a_trace_goes_on_over_a_carrier() -> None:
    with in_span() as (trace_id, span_id):
        carrier = current_carrier()
        assert current_trace_id() == trace_id
    assert carrier["traceparent"].startswith(f"00-{trace_id}-{span_id}-")
    assert trace_of(carrier) == trace_id


def test_a_carrier_decides_alone_and_not_the_span_that_reads_it() -> None:
    with in_span():
        assert trace_of({}) is None
        assert trace_of({"traceparent": "nonsense"}) is None
        assert trace_of({"traceparent": PARENT}) == TRACE


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01-more",
        f"00-{TRACE[:-1]}-00f067aa0ba902b7-01",
        f"00-{TRACE[:-1]}g-00f067aa0ba902b7-01",
    ],
)
def test_a_malformed_parent_starts_a_new_trace(parent: str) -> None:
    assert trace_of({"traceparent": parent}) is None


def test_a_records_headers_give_its_trace() -> None:
    carrier = carrier_from_headers(
        [("ce_id", b"\xff"), ("traceparent", PARENT.encode()), ("tracestate", b"a=1"), ("tracestate", b"b=2")]
    )
    assert carrier == {"traceparent": PARENT, "tracestate": "a=1,b=2"}
    assert trace_of(carrier) == TRACE


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("traceparent", None)],
        [("tracestate", b"a=1")],
        [("traceparent", PARENT.encode()), ("traceparent", PARENT.encode())],
    ],
)
def test_without_exactly_one_parent_there_is_no_trace(headers: list[tuple[str, bytes | None]]) -> None:
    assert carrier_from_headers(headers) == {}


def test_a_parent_that_is_not_ascii_starts_a_new_trace() -> None:
    assert trace_of(carrier_from_headers([("traceparent", b"\xff" + PARENT.encode())])) is None


STATE_OF_33 = ",".join(f"k{number}={number}" for number in range(33))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["foo=1,bar=2"], "foo=1,bar=2"),
        (["foo=1,bar=2", "rojo=1", "baz=3"], "foo=1,bar=2,rojo=1,baz=3"),
        (["foo=1 \t , \t bar=2"], "foo=1,bar=2"),
        (["", "foo=1", ""], "foo=1"),
        (["a_-*/0@v_-*/0=1"], "a_-*/0@v_-*/0=1"),
        ([f"{'z' * 256}=1"], f"{'z' * 256}=1"),
        ([STATE_OF_33.rpartition(",")[0]], STATE_OF_33.rpartition(",")[0]),
        ([f"{'z' * 257}=1"], None),
        (["foo=1,foo=1"], None),
        (["foo=1", "foo=2"], None),
        (["foo =1"], None),
        (["FOO=1"], None),
        (["foo.bar=1"], None),
        (["foo@=1,bar=2"], None),
        (["@foo=1,bar=2"], None),
        (["foo@@bar=1,bar=2"], None),
        (["foo@bar@baz=1,bar=2"], None),
        (["foo,bar=1"], None),
        (["foo=bar=baz"], None),
        (["foo=,bar=3"], None),
        ([STATE_OF_33], None),
        ([f"foo={'v' * 8192}"], None),
    ],
)
def test_a_legal_trace_state_goes_on_and_an_illegal_one_is_dropped_whole(given: list[str], kept: str | None) -> None:
    """The cases of the W3C's own test harness, at its strictest level."""
    context = PROPAGATOR.extract({"traceparent": [PARENT], "tracestate": given}, Context())
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier, context)
    assert carrier["traceparent"] == PARENT
    assert carrier.get("tracestate") == kept


def test_baggage_goes_on_from_all_its_headers_within_its_limits() -> None:
    def carried(*headers: str) -> str | None:
        context = PROPAGATOR.extract({"traceparent": [PARENT], "baggage": list(headers)}, Context())
        carrier: dict[str, str] = {}
        PROPAGATOR.inject(carrier, context)
        return carrier.get("baggage")

    assert carried("a=1", "b=2,c=3") == "a=1,b=2,c=3"
    assert carried() is None
    assert carried("a=1,nonsense,b=2") == "a=1,b=2"
    assert carried(f"a={'x' * 4000},b={'x' * 4000}") == f"a={'x' * 4000},b={'x' * 4000}"
    assert carried(f"a={'x' * 4000},b={'x' * 4000},c={'x' * 200}") is None
    assert len((carried(*(f"k{number}=1" for number in range(300))) or "").split(",")) == 180


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["traceparent", "tracestate", "baggage", "Traceparent", "other"]),
            st.none() | st.binary(max_size=80) | st.just(PARENT.encode()) | st.text(max_size=80).map(str.encode),
        ),
        max_size=4,
    )
)
def test_no_headers_whatever_raise(headers: list[tuple[str, bytes | None]]) -> None:
    context_from(carrier_from_headers(headers))


def test_what_travels_with_a_trace_has_no_secret() -> None:
    given = {
        "traceparent": [PARENT],
        "tracestate": ["a=1,token=canary", "b=2"],
        "baggage": ["tenant=7,session=Bearer%20canary", "access_token=canary;ttl=1,c=4111-1111-1111-1111,d=4"],
    }
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier, PROPAGATOR.extract(given, Context()))
    assert carrier == {"traceparent": PARENT, "tracestate": "a=1,b=2", "baggage": "tenant=7,d=4"}
