"""Times as CloudEvents writes them: the `date-time` of RFC 3339 section 5.6, which JSON Schema's format is too."""

import re
from calendar import monthrange
from datetime import UTC, datetime

DATE_TIME = re.compile(
    r"""
    (?P<minute> [0-9]{4}-[0-9]{2}-[0-9]{2} T (?:[01][0-9]|2[0-3]) :[0-5][0-9] )
    : (?P<second> [0-5][0-9] | 60 )
    (?: \. (?P<fraction> [0-9]+ ) )?
    (?P<offset> Z | [+-] (?:[01][0-9]|2[0-3]) :[0-5][0-9] )
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def parse_time(text: str) -> datetime:
    """Return the moment in UTC, to the microsecond; further digits are cut off.

    A leap second is read as the last microsecond before it, because `datetime` and most databases have no second 60.
    So the event stays in its day, after all events of the seconds before and before all of the next day.

    Raises:
        ValueError: `text` is not a date and time of RFC 3339 with its offset, or not one of the years 1 to 9999,
            as written and in UTC.
    """
    parts = DATE_TIME.fullmatch(text)
    if parts is None:
        raise ValueError("is not a date and time of RFC 3339 with its offset, as in 2026-01-02T03:04:05Z")
    second, fraction = parts["second"], (parts["fraction"] or "")[:6].ljust(6, "0")
    is_leap_second = second == "60"
    if is_leap_second:
        second, fraction = "59", "999999"
    offset = "+00:00" if parts["offset"] in "Zz" else parts["offset"]
    try:
        time = datetime.fromisoformat(f"{parts['minute'].upper()}:{second}.{fraction}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a moment of the years 1 to 9999, as written and in UTC") from None
    if is_leap_second and not _ends_a_month(time):
        raise ValueError("has a second 60 that is not at the end of a month in UTC")
    return time


def _ends_a_month(time: datetime) -> bool:
    """Return whether `time` is in the last second of a month, after which a leap second may come (section 5.7)."""
    last_day = monthrange(time.year, time.month)[1]
    return (time.day, time.hour, time.minute, time.second) == (last_day, 23, 59, 59)
