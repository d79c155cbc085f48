"""Known secrets: what the settings of this process keep secret, so that no text of a library can show it.

Settings remember their secrets here by themselves. Code that logs, prints or answers a text that may have come from a
library cleans the text here first.
Settings are checked so that no library misreads them; this is the second line of defence.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from urllib.parse import quote, quote_plus, unquote

from pydantic import BaseModel, SecretStr

from tidings.events.redaction import REDACTED, redact_text

SHORTEST = 4
"""Shorter secrets are looked for as words of their own only: their letters are in every text."""
PART = 10
"""Characters of a longer secret by which a part of it is known: an error message may have been cut in its middle."""
_GRAM = PART // 2
"""A part has one of the secret's pieces of this length at each position of the text that is looked at."""

_WITH_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<userinfo>[^:@/]*:(?P<password>[^/]+))@.*")
_WITH_SCHEME = re.compile(r"\S+ +(\S+)")
_NEVER = re.compile(r"(?!)")


@dataclass
class _Remembered:
    whole: set[str] = field(default_factory=set)
    pattern: re.Pattern[str] = _NEVER
    """Matches each of `whole`."""
    grams: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    """Each piece of `_GRAM` characters of a secret, with the secret and the places where the piece is in it."""


_remembered = _Remembered()


def remember(settings: BaseModel) -> None:
    """Remember every `SecretStr` of these settings for as long as the process lives."""
    for secret in (value.get_secret_value() for _, value in settings if isinstance(value, SecretStr)):
        for part in {secret, *_parts(secret)}:
            for spelling in set(_spellings(part)) - _remembered.whole:
                _remembered.whole.add(spelling)
                # A part of an address may be its host, which is no secret.
                if len(spelling) >= PART and not (part == secret and _WITH_PASSWORD.fullmatch(secret)):
                    _remember_parts(spelling)
    words = (_pattern_of(spelling) for spelling in sorted(_remembered.whole, key=len, reverse=True))
    _remembered.pattern = re.compile("|".join(words)) if _remembered.whole else _NEVER


def mask(text: str) -> str:
    """Return `text` without any remembered secret, and without any part of `PART` characters of one."""
    masked = _remembered.pattern.sub(REDACTED, text)
    return _without_parts(masked) if _remembered.grams else masked


def clean(text: str) -> str:
    """Return `text` without remembered secrets, and without what looks like a secret."""
    return redact_text(mask(text))


def _pattern_of(spelling: str) -> str:
    escaped = re.escape(spelling)
    return escaped if len(spelling) >= SHORTEST else rf"(?<!\w){escaped}(?!\w)"


def _remember_parts(secret: str) -> None:
    for place in range(len(secret) - _GRAM + 1):
        _remembered.grams.setdefault(secret[place : place + _GRAM], []).append((secret, place))


def _without_parts(text: str) -> str:
    """Return `text` without parts of secrets. Only each `_GRAM`th position is looked at, as most texts have none."""
    kept, end = [], 0
    for start in range(0, len(text) - _GRAM + 1, _GRAM):
        places = _remembered.grams.get(text[start : start + _GRAM]) if start >= end else None
        if places:
            begin, stop = max((_extent(text, start, end, *place) for place in places), key=lambda it: it[1] - it[0])
            if stop - begin >= PART:
                kept += [text[end:begin], REDACTED]
                end = stop
    return "".join([*kept, text[end:]]) if kept else text


def _extent(text: str, start: int, end: int, secret: str, place: int) -> tuple[int, int]:
    """Return from where to where `text`, after `end`, has a part of the secret, whose `place` is at `start`."""
    before = _common(reversed(text[end:start]), reversed(secret[:place]))
    return start - before, start + _common(text[start:], secret[place:])


def _common(first: Iterable[str], second: Iterable[str]) -> int:
    """Return how many characters both have in common at their begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _spellings(secret: str) -> Iterator[str]:
    """Return all ways in which a message may write a secret."""
    for plain in (secret, unquote(secret)):
        yield from filter(
            None,
            (
                plain,
                quote(plain, safe=""),
                quote_plus(plain),
                repr(plain)[1:-1],
                json.dumps(plain)[1:-1],
                json.dumps(plain, ensure_ascii=False)[1:-1],
            ),
        )


def _parts(secret: str) -> Iterator[str]:
    """Return what is secret in a secret: of an address its password, of `name=value` pairs their values."""
    if address := _WITH_PASSWORD.fullmatch(secret):
        yield from (address["userinfo"], address["password"])
        return
    for pair in re.split("[,;]", secret):
        value = pair.partition("=")[2].strip()
        yield value
        if credential := _WITH_SCHEME.fullmatch(unquote(value)):  # e.g. of `Bearer …`
            yield credential[1]
