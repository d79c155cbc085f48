"""Middleware: pure ASGI, one class for each concern, in the order of `http.app`."""

import hmac
import logging
import re
import time
from hashlib import sha256

from opentelemetry.trace import SpanContext, Status, StatusCode, get_current_span
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidings.events import ApiRequest, uuid7
from tidings.http.client_address import client_address
from tidings.http.problems import TOO_LARGE, UNEXPECTED, respond
from tidings.kafka.activity import ActivityLane
from tidings.telemetry.logs import current_service
from tidings.telemetry.propagation import in_some_trace

logger = logging.getLogger(__name__)

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
MANAGEMENT = re.compile(
    r"/(health/(live|ready)|metrics|docs(/events|/assets/[^/]+)?|(open|async)api\.json|openapi/\w+\.json)"
)
"""Paths that operators and browsers poll. Exact, so that no caller can hide a path in them."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Set on every answer that does not say otherwise."""


class Identity:
    """Names the request: `X-Request-Id`, `X-Trace-Id` and `traceresponse` on every answer, and where it came from.

    A request of which no span is recorded, because its path is polled, has a trace id too.

    Args:
        app: what answers.
        service: the service's name.
        trusted_hops: how many proxies each request comes through; `tidings.client` of the scope is the address beyond.
    """

    def __init__(self, app: ASGIApp, service: str, trusted_hops: int = 0) -> None:
        self.app = app
        self.service = service
        self._trusted_hops = trusted_hops

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        current_service.set(self.service)
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if SANE_REQUEST_ID.fullmatch(given) else str(uuid7())
        scope["tidings.request_id"] = request_id
        scope["tidings.client"] = client_address(scope, self._trusted_hops)
        with in_some_trace(scope["headers"]) as span:
            await self.app(scope, receive, self._naming(send, request_id, span))

    def _naming(self, send: Send, request_id: str, span: SpanContext) -> Send:
        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["X-Trace-Id"] = f"{span.trace_id:032x}"
                headers["traceresponse"] = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
            await send(message)

        return named


class SecurityHeaders:
    """Adds the security headers that an answer does not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, secured)


class Activity:
    """Emits one `api.request` event for every call, when its answer is complete.

    A call of a polled path is left out if it was answered as such calls are: without an error, or with 503.

    `tidings.fingerprint` of the scope is the keyed hash of the caller's address, as events carry it.

    Args:
        app: what answers.
        lane: takes the events; looked up at each call because it is made later, in the lifespan.
        address_key: keys the hash of the caller's address.
    """

    def __init__(self, app: ASGIApp, address_key: str) -> None:
        self.app = app
        self._key = address_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status, sent = 500, 0
        address = scope["tidings.client"]
        scope["tidings.fingerprint"] = self._hashed(address) if address else None

        async def counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, counted)
        finally:
            if not _is_poll(scope["path"], status):
                lane: ActivityLane = scope["state"]["activity"]
                lane.emit(self._describe(scope, status, sent, time.perf_counter() - started))

    def _describe(self, scope: Scope, status: int, sent: int, seconds: float) -> ApiRequest:
        principal = scope.get("tidings.principal")
        return ApiRequest(
            method=scope["method"][:16],
            route=getattr(scope.get("route"), "path", None),
            status=status,
            duration_ms=round(seconds * 1000, 3),
            response_bytes=sent,
            user_id=principal.user_id if principal else None,
            username=principal.username if principal else None,
            request_id=scope["tidings.request_id"],
            client=scope["tidings.fingerprint"],
        )

    def _hashed(self, address: str) -> str:
        return hmac.new(self._key, address.encode(), sha256).hexdigest()[:32]


def _is_poll(path: str, status: int) -> bool:
    return MANAGEMENT.fullmatch(path) is not None and (status < 400 or status == 503)


class BodyLimit:
    """Refuses a body that is too large: by its declared length before it is read, else as soon as it gets there.

    Args:
        app: what reads the body.
        max_bytes: the largest body that is taken.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        if declared.isdecimal() and int(declared[:20]) > self._max_bytes:
            await respond(Request(scope), TOO_LARGE)(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(TOO_LARGE.status)
            return message

        await self.app(scope, limited, send)


class UnexpectedErrors:
    """Answers an error that nobody expected with a problem, records it on the span, and logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            logger.exception("unexpected error")
            span = get_current_span()
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            if started:
                raise  # the answer is under way: only cutting the connection can tell the client
            await respond(Request(scope), UNEXPECTED)(scope, receive, send)
