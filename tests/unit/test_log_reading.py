"""Reading the log: a position survives its cursor, in the order of the log."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.http.pages import BadCursor, decode_cursor, encode_cursor
from tidings_log_consumer.reading import KEY_LENGTH, Position
from tidings_log_consumer.routes import _position

POSITIONS = st.builds(Position, st.datetimes(timezones=st.just(UTC)), st.integers(0, 2**63 - 1))


@given(POSITIONS)
def test_a_position_survives_its_cursor(position: Position) -> None:
    key = position.to_bytes()
    assert len(key) == KEY_LENGTH
    assert Position.from_bytes(decode_cursor(encode_cursor(key), KEY_LENGTH)) == position
    assert _position(encode_cursor(key)) == position


def test_a_position_keeps_microseconds_before_and_after_the_epoch() -> None:
    for moment in (datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)):
        assert Position.from_bytes(Position(moment, 1).to_bytes()).occurred_at == moment


def test_a_position_is_the_same_moment_in_any_zone() -> None:
    moment = datetime(2026, 1, 2, 12, tzinfo=timezone(timedelta(hours=9)))
    assert Position.from_bytes(Position(moment, 1).to_bytes()).occurred_at == moment.astimezone(UTC)


@given(st.binary(min_size=KEY_LENGTH, max_size=KEY_LENGTH))
def test_any_key_is_a_position_or_a_bad_cursor(key: bytes) -> None:
    try:
        position = _position(encode_cursor(key))
    except BadCursor:
        return
    assert position is not None
    assert position.to_bytes() == key


@pytest.mark.parametrize("first", [b"\x7f" + b"\xff" * 7, b"\x80" + b"\0" * 7])
def test_a_moment_outside_the_calendar_is_a_bad_cursor(first: bytes) -> None:
    with pytest.raises(BadCursor):
        _position(encode_cursor(first + bytes(16)))


@pytest.mark.parametrize("text", ["", "abc", encode_cursor(bytes(15)), encode_cursor(bytes(24))])
def test_a_cursor_of_another_list_is_a_bad_cursor(text: str) -> None:
    with pytest.raises(BadCursor):
        _position(text)


def test_no_cursor_is_the_first_page() -> None:
    assert _position(None) is None
