"""Signed tokens in their compact form (RFC 7515), read so strictly that each has one spelling and one meaning.

Parsers differ in what they forgive: padding, stray bits and characters in base64url, a name that is in an object twice,
`NaN`. Whoever forgives lets two readers see two tokens in one text (RFC 8725 section 3.1 and 3.8).
"""

import base64
from typing import Any

from tidings.http.strict_json import parse_json

MOST_BRACKETS = 64


def parts(token: str) -> tuple[str, str, str]:
    """Return header, payload and signature, still encoded; raise `ValueError` unless there are just these three."""
    header, payload, signature = token.split(".")
    return header, payload, signature


def decoded(part: str) -> bytes:
    """Return what a part says; raise `ValueError` unless it is the canonical, unpadded base64url of it (RFC 4648)."""
    raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise ValueError("no canonical base64url")
    return raw


def parsed(document: bytes) -> Any:
    """Return JSON in UTF-8 (RFC 8259) as it is; raise `ValueError` for whatever has no or more than one meaning."""
    # How deep a parser follows is up to each interpreter; so much of it says nothing that we ask for.
    if document.count(b"[") + document.count(b"{") > MOST_BRACKETS:
        raise ValueError("nested too deeply")
    return parse_json(document)
