"""Known secrets: what the settings of this process keep secret, so that no text of a library can show it.

Settings remember their secrets here by themselves. Code that logs, prints or answers a text that may have come from a
library cleans the text here first.
Settings are checked so that no library misreads them; this is the second line of defence.
"""

import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote

from pydantic import BaseModel, SecretStr

from tidings.events.redaction import REDACTED, redact_text

SHORTEST = 4
"""Shorter secrets are not looked for: their letters are in every text."""

_WITH_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<userinfo>[^:@/]*:(?P<password>[^/]+))@.*")
_WITH_SCHEME = re.compile(r"\S+ +(\S+)")
_remembered: set[str] = set()
_pattern = re.compile(r"(?!)")


def remember(settings: BaseModel) -> None:
    """Remember every `SecretStr` of these settings for as long as the process lives."""
    secrets = (value for _, value in settings if isinstance(value, SecretStr))
    new = {spelling for secret in secrets for spelling in _spellings(secret.get_secret_value())} - _remembered
    if new:
        global _pattern
        _remembered.update(new)
        _pattern = re.compile("|".join(map(re.escape, sorted(_remembered, key=len, reverse=True))))


def mask(text: str) -> str:
    """Return `text` without any remembered secret."""
    return _pattern.sub(REDACTED, text)


def clean(text: str) -> str:
    """Return `text` without remembered secrets, and without what looks like a secret."""
    return redact_text(mask(text))


def _spellings(secret: str) -> Iterator[str]:
    """Return all ways in which a message may write the secret, or the part of it that is secret by itself."""
    for part in _parts(secret):
        for plain in (part, unquote(part)):
            for spelling in (
                plain,
                quote(plain, safe=""),
                quote_plus(plain),
                repr(plain)[1:-1],
                json.dumps(plain)[1:-1],
                json.dumps(plain, ensure_ascii=False)[1:-1],
            ):
                if len(spelling) >= SHORTEST:
                    yield spelling


def _parts(secret: str) -> Iterator[str]:
    """Return the secret, and what is secret in it: of an address its password, of `name=value` pairs their values."""
    yield secret
    if address := _WITH_PASSWORD.fullmatch(secret):
        yield from (address["userinfo"], address["password"])
        return
    for pair in re.split("[,;]", secret):
        value = pair.partition("=")[2].strip()
        yield value
        if credential := _WITH_SCHEME.fullmatch(unquote(value)):  # e.g. of `Bearer …`
            yield credential[1]
