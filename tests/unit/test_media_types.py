"""Media types: who asks for JSON, by the rules of RFC 9110 section 12.5.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.http.media_types import LONGEST, asks_for, media_type_of

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


@given(st.lists(st.text()))
def test_any_header_is_read(values: list[str]) -> None:
    asks_for(values, JSON)
    media_type_of(values)


def test_long_header_is_read_as_far_as_the_limit() -> None:
    assert asks_for([JSON + "," * LONGEST], JSON)
    assert not asks_for(["," * LONGEST + JSON], JSON)
    assert media_type_of([JSON + ";" * LONGEST]) is None
