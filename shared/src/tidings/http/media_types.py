"""Media types: what `Content-Type` says, and what `Accept` asks for (RFC 9110 sections 8.3.1 and 12.5.1)."""

from collections.abc import Mapping, Sequence

import mimeparse

LONGEST = 1024
"""Characters of a header that are read; the parser needs quadratic time for a header made of semicolons."""
TYPE_IS_NAMED = 100
"""The parser's score of a media range that names the type, so not of `*/*`."""

MediaRange = tuple[str, str, Mapping[str, str]]


def media_type_of(headers: Sequence[str]) -> MediaRange | None:
    """Return type, subtype and parameters of the values of `Content-Type`; `None` when they do not name one type."""
    if len(headers) != 1 or len(headers[0]) > LONGEST:
        return None
    return _parsed(headers[0])


def asks_for(headers: Sequence[str], media_type: str) -> bool:
    """Return whether the values of `Accept` name `media_type`, or `type/*` of it, and do not rule it out by `q=0`.

    `*/*` does not count: it asks for anything.
    """
    elements = ",".join(headers)[:LONGEST].split(",")
    ranges = [media_range for element in elements if (media_range := _parsed(element))]
    quality, fitness = mimeparse.quality_and_fitness_parsed(media_type, ranges)
    return bool(quality > 0 and fitness >= TYPE_IS_NAMED)


def _parsed(text: str) -> MediaRange | None:
    try:
        media_range: MediaRange = mimeparse.parse_media_range(text.strip().lower())
    except mimeparse.MimeTypeParseException:
        return None
    return media_range
