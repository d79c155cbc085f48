"""Media types: what `Accept` asks for (RFC 9110 section 12.5.1)."""

import re
from collections.abc import Mapping, Sequence

import mimeparse

LONGEST = 1024
"""Characters of a media range that are read; the parser needs quadratic time for one made of semicolons."""
MOST_RANGES = 100
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
"""A parameter's value in quotes, which may have commas and semicolons in it (RFC 9110 section 5.6.4)."""
TYPE_IS_NAMED = 100
"""The parser's score of a media range that names the type, so not of `*/*`."""

WEIGHT = re.compile(r";[ \t]*q[ \t]*((?:=[^;]*)?)(?=;|$)")
WEIGHT_VALUE = re.compile(r"=[ \t]*(0(\.[0-9]{0,3})?|1(\.0{0,3})?)[ \t]*")
"""RFC 9110 section 12.4.2: 0 to 1 with at most three decimals."""

MediaRange = tuple[str, str, Mapping[str, str]]


def asks_for(headers: Sequence[str], media_type: str) -> bool:
    """Return whether the values of `Accept` name `media_type`, or `type/*` of it, and do not rule it out by `q=0`.

    `*/*` does not count: it asks for anything. A range with a malformed weight, such as `q=abc`, `q=1.5` or `q=-1`, or
    with two weights, is ignored: it does not say how much its client wants it. The other ranges still count.
    """
    elements = QUOTED.sub("quoted", ",".join(headers)).lower().split(",")[:MOST_RANGES]
    ranges = [media_range for element in elements if (media_range := _parsed(element[:LONGEST]))]
    quality, fitness = mimeparse.quality_and_fitness_parsed(media_type, ranges)
    return bool(quality > 0 and fitness >= TYPE_IS_NAMED)


def _parsed(text: str) -> MediaRange | None:
    """Return type, subtype and parameters of a media range; `None` when it is malformed."""
    weights = WEIGHT.findall(text)
    if len(weights) > 1 or not all(map(WEIGHT_VALUE.fullmatch, weights)):
        return None  # the parser takes a malformed weight for 1
    try:
        media_range: MediaRange = mimeparse.parse_media_range(text.strip())
    except mimeparse.MimeTypeParseException:
        return None
    return media_range
