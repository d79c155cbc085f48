"""Media types: who asks for JSON, by the rules of RFC 9110 section 12.5.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.http.media_types import LONGEST, MOST_RANGES, asks_for

JSON = "application/json"


@pytest.mark.parametrize(
    "accept",
    [
        ["application/json"],
        ["Application/JSON"],
        ["application/json; charset=utf-8"],
        ["application/json;q=0.001"],
        ["text/html, application/json;q=0.1"],
        ["application/json, text/plain, */*"],
        ["application/*"],
        ["*/*;q=0, application/json"],
        ["text/html", "application/json"],
        [", ,application/json,"],
        ["garbage, application/json"],
        ['text/plain; x="a, b", application/json'],
        ["application/json;q=1."],
        ["application/json;q=1.000"],
        ["application/json ; Q=0.5 ; x=y"],
        ["application/json;quality=abc"],
        ['application/json;x="a;q=0"'],
        ['application/json;x="a, b;q=0";q=1'],
        ['text/html;x="\\";q=2", application/json'],
        ["text/html;level=1, " * 60 + "application/json"],
        ["application/json;q=abc, application/json"],
    ],
)
def test_json_is_asked_for(accept: list[str]) -> None:
    assert asks_for(accept, JSON)


@pytest.mark.parametrize(
    "accept",
    [
        [],
        [""],
        ["*/*"],
        ["*"],
        ["text/html"],
        ["application/json;q=0"],
        ["application/json;q=0.000"],
        ["application/json; Q=0, */*"],
        ["application/*, application/json;q=0"],
        ["application/*;q=0"],
        ["text/html, application/json;q=0", "*/*;q=1"],
        ["application/jsonp"],
        ["application/json-seq"],
        ["application/problem+json"],
        ["x-application/json"],
        ["text/x; y=application/json"],
        ["application/json/x"],
        ["json"],
        [";", ",", "/", "q=1"],
    ],
)
def test_json_is_not_asked_for(accept: list[str]) -> None:
    assert not asks_for(accept, JSON)


@pytest.mark.parametrize(
    "weight",
    [
        *("q=abc", "q=1.5", "q=-1", "q=+1", "q=2", "q=1.001", "q=0.0001", "q=01", "q=.5", "q=1e0", "q=1_0", "q=0x1"),
        *("q=nan", "q=inf", "q=", "q", "q= ", "q=1 1", 'q="1"', "q=0.５", "q=0;q=1", "q=1;q=1", "x=y;q=abc", "Q=abc"),
    ],
)
def test_range_with_malformed_weight_is_ignored(weight: str) -> None:
    assert not asks_for([f"application/json;{weight}"], JSON)
    assert asks_for([f"application/json;{weight}, application/json;q=0.5"], JSON)
    assert asks_for([f"application/*;{weight}, application/json"], JSON)
    assert not asks_for([f"application/json;{weight}, */*"], JSON)


@given(st.lists(st.text()))
def test_any_header_is_read(values: list[str]) -> None:
    asks_for(values, JSON)


def test_long_header_is_read_as_far_as_the_limit() -> None:
    assert asks_for([JSON + "," * LONGEST], JSON)
    assert asks_for(["text/html, " * (MOST_RANGES - 1) + JSON], JSON)
    assert not asks_for(["text/html, " * MOST_RANGES + JSON], JSON)
