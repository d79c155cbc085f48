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
HEADERS = "headers"
"""How the name of a setting ends that holds `name=value` pairs."""
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
    for name, value in settings:
        if isinstance(value, SecretStr):
            secret = value.get_secret_value()
            for enclosing in _enclosing(name, secret):
                _remembered.whole.update(_spellings(enclosing))
            for part in _secret_parts(name, secret):
                for spelling in set(_spellings(part)) - _remembered.whole:
                    _remembered.whole.add(spelling)
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


def _enclosing(name: str, secret: str) -> Iterator[str]:
    """Return texts that are masked as a whole only: they hold a host, a user or the names of headers, too."""
    if "://" in secret or name.endswith(HEADERS):
        yield secret
    if address := _WITH_PASSWORD.fullmatch(secret):
        yield address["userinfo"]


def _secret_parts(name: str, secret: str) -> Iterator[str]:
    """Return what is secret in a setting: the password of an address, the values of headers, else all of it."""
    if address := _WITH_PASSWORD.fullmatch(secret):
        yield address["password"]
    elif "://" in secret:
        return  # an address without a password
    elif name.endswith(HEADERS):
        for pair in secret.split(","):
            value = pair.partition("=")[2].strip()
            credential = _WITH_SCHEME.fullmatch(unquote(value))  # e.g. of `Bearer …`
            found = [value, *([credential[1]] if credential else [])]
            yield from (text for text in found if len(text) >= SHORTEST)  # a header may be no secret at all
    else:
        yield secret
