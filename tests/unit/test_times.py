"""Times: what RFC 3339 allows is read as the moment it says, and nothing else is read."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.events import decode
from tidings.events.times import parse_time
from unit.test_codec import refusal, wire

LEAP_DAYS = ["2016-12-31", "2015-06-30", "2027-03-31", "2024-02-29", "9999-12-31"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02t03:04:05z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.1Z", datetime(2026, 1, 2, 3, 4, 5, 100_000, UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123_456, UTC)),
        ("2026-01-02T03:04:05.9999999Z", datetime(2026, 1, 2, 3, 4, 5, 999_999, UTC)),
        (f"2026-01-02T03:04:05.{'9' * 100_000}Z", datetime(2026, 1, 2, 3, 4, 5, 999_999, UTC)),
        ("2026-01-02T03:04:05-00:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+14:00", datetime(2026, 1, 1, 13, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05-23:59", datetime(2026, 1, 3, 3, 3, 5, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)),
        ("0001-01-01T05:00:00+05:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T18:59:59-05:00", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
    ids=lambda value: str(value)[:40],
)
def test_time_of_rfc3339_is_read_in_utc(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment
    assert decode(*wire(ce_time=text)).time == moment


@pytest.mark.parametrize("day", LEAP_DAYS)
@pytest.mark.parametrize("fraction", ["", ".0", ".999999999"])
def test_leap_second_is_read_as_the_last_microsecond_before_it(day: str, fraction: str) -> None:
    moment = datetime.fromisoformat(f"{day}T23:59:59.999999+00:00")
    assert parse_time(f"{day}T23:59:60{fraction}Z") == moment


@pytest.mark.parametrize(
    "text", ["2016-12-31T15:59:60-08:00", "2017-01-01T08:59:60+09:00", "2017-01-01T05:29:60+05:30"]
)
def test_leap_second_is_told_by_its_time_in_utc(text: str) -> None:
    assert parse_time(text) == datetime(2016, 12, 31, 23, 59, 59, 999_999, UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2016-12-30T23:59:60Z",
        "2016-12-31T23:58:60Z",
        "2016-12-31T22:59:60Z",
        "2016-12-31T23:59:60+01:00",
        "2023-02-28T12:00:60Z",
        "2024-02-28T23:59:60Z",
        "2016-12-32T23:59:60Z",
    ],
)
def test_second_60_elsewhere_is_refused(text: str) -> None:
    assert "time: " in refusal(*wire(ce_time=text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1700000000",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04Z",
        "2026-01-02 03:04:05Z",
        "2026-01-02_03:04:05Z",
        "20260102T030405Z",
        "2026-W01-5T03:04:05Z",
        "2026-1-2T03:04:05Z",
        "26-01-02T03:04:05Z",
        "+2026-01-02T03:04:05Z",
        "10000-01-01T00:00:00Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:60:05Z",
        "2026-01-02T03:04:61Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T03:04:05+0900",
        "2026-01-02T03:04:05+09",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+09:60",
        "2026-01-02T03:04:05−09:00",
        "2026-01-02T03:04:05+09:00:00",
        "2026-01-02T03:04:05UTC",
        "２０２６-01-02T03:04:05Z",
        " 2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n",
        "2026-01-02T03:04:05Z\x00",
    ],
)
def test_what_is_not_rfc3339_is_refused_by_name(text: str) -> None:
    assert "time: is not a date and time of RFC 3339" in refusal(*wire(ce_time=text))


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0000-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60-12:00",
    ],
)
def test_moment_outside_the_calendar_is_refused_by_name(text: str) -> None:
    assert "time: is not a moment of the years 1 to 9999" in refusal(*wire(ce_time=text))


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001  # the offset is drawn
    st.integers(-1439, 1439),
    st.sampled_from("Tt"),
    st.integers(0, 999),
)
def test_every_time_with_offset_is_read_as_its_moment(local: datetime, minutes: int, letter: str, more: int) -> None:
    sign = "-" if minutes < 0 else "+"
    offset = f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    text = f"{local.isoformat(letter, 'microseconds')}{more:03}{offset}"
    assert parse_time(text) == local.replace(tzinfo=UTC) - timedelta(minutes=minutes)
