"""Request headers as text: bytes that are not ASCII are read in one way, wherever a header is used."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from tidings.text import one_line

SHOWN = frozenset({b"user-agent"})
"""Headers that people see, in lists and in spans."""


class ReadableHeaders(FastAPI):
    """A FastAPI application that receives every header value in UTF-8, and those that people see as one line.

    OpenTelemetry reads headers before any middleware does. It decodes what is not UTF-8 as Python escapes: `\\n` in a
    `User-Agent` became a line end in the span, and `\\x` made the request fail with 500.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [(name, _readable(name, value)) for name, value in scope["headers"]]}
        await super().__call__(scope, receive, send)


def header_text(request: Request, name: str) -> str:
    """Return the value of a header that `ReadableHeaders` received, or "" when it was not sent."""
    # Starlette decodes every header as Latin-1.
    return request.headers.get(name, "").encode("latin-1").decode()


def _readable(name: bytes, value: bytes) -> bytes:
    """Return a value in UTF-8. Only what people see is cleaned: a token with an invisible character stays wrong."""
    text = _decoded(value)
    return (one_line(text) if name in SHOWN else text).encode()


def _decoded(value: bytes) -> str:
    """Return bytes as UTF-8 where they are, else as Latin-1 (RFC 9110, section 5.5)."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
