"""Overload: a service's requests are admitted one place at a time, or refused before anything of them is looked at.

A request takes a place only once its body is there: else a few clients that send slowly would have all places.
"""

from typing import Any
from urllib.parse import quote

from starlette.types import Message, Receive, Scope, Send

from tidings.admission import Admission, admitted
from tidings.http.headers import ReadableHeaders
from tidings.http.refusals import OVERLOADED, answer

ALWAYS_ADMITTED = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Paths by which operators learn how a busy service is."""

MAX_BODY = 64 * 1024
"""Bytes that a body may have unless a service says otherwise."""


class AdmittingService(ReadableHeaders):
    """A FastAPI application that works on a bounded number of requests at once.

    Args:
        admission: has the places.
        max_body: how many bytes of a body are received before the request is admitted.
        options: those of FastAPI.
    """

    def __init__(self, *, admission: Admission, max_body: int = MAX_BODY, **options: Any) -> None:
        super().__init__(**options)
        self._admission = admission
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Here rather than in a middleware, because OpenTelemetry's makes a span before any other one is called.
        if scope["type"] != "http" or scope["path"] in ALWAYS_ADMITTED:
            await super().__call__(scope, receive, send)
            return
        if _declares_body(scope, self._max_body):
            receive = await _received(receive, self._max_body)
        async with admitted(self._admission) as has_place:
            application = super().__call__ if has_place else _refuse
            await application(scope, receive, send)


def _declares_body(scope: Scope, most: int) -> bool:
    """Return whether the request has a body that is worth waiting for; one that is too large is refused unread."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return value.isdigit() and 0 < int(value[:20]) <= most
        if name == b"transfer-encoding":
            return True
    return False


async def _received(receive: Receive, most: int) -> Receive:
    """Wait for the body, or for more than `most` bytes of it, and return what gives it to the application."""
    body = bytearray()  # one message for all: a client may send each byte by itself
    more = True
    while more and len(body) <= most:
        message = await receive()
        if message["type"] != "http.request":
            break  # the client has gone; the server says so again
        body += message.get("body", b"")
        more = message.get("more_body", False)
    first: Message | None = {"type": "http.request", "body": bytes(body), "more_body": more}

    async def replay() -> Message:
        nonlocal first
        if first is None:
            return await receive()
        message, first = first, None
        return message

    return replay


async def _refuse(scope: Scope, _receive: Receive, send: Send) -> None:
    headers, body = answer(OVERLOADED, quote(scope["path"]))
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": OVERLOADED.status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
