"""Overload: a service's requests are admitted one place at a time, or refused before anything of them is looked at."""

from typing import Any
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from tidings.admission import Admission, admitted
from tidings.http.headers import ReadableHeaders
from tidings.http.refusals import OVERLOADED, answer

ALWAYS_ADMITTED = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Paths by which operators learn how a busy service is."""


class AdmittingService(ReadableHeaders):
    """A FastAPI application that works on a bounded number of requests at once.

    Args:
        admission: has the places.
        options: those of FastAPI.
    """

    def __init__(self, *, admission: Admission, **options: Any) -> None:
        super().__init__(**options)
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Here rather than in a middleware, because OpenTelemetry's makes a span before any other one is called.
        if scope["type"] != "http" or scope["path"] in ALWAYS_ADMITTED:
            await super().__call__(scope, receive, send)
            return
        async with admitted(self._admission) as has_place:
            application = super().__call__ if has_place else _refuse
            await application(scope, receive, send)


async def _refuse(scope: Scope, _receive: Receive, send: Send) -> None:
    headers, body = answer(OVERLOADED, quote(scope["path"]))
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": OVERLOADED.status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
