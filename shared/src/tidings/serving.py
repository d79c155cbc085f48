"""Serving: the one way to put an application behind a port, used by services, the local runner and the tests."""

import re
from typing import Any, Literal
from urllib.parse import unquote

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

Parser = Literal["h11", "httptools"]

PARSER: Parser = "h11"
"""The HTTP parser in use. It is named here because uvicorn would otherwise change it when `httptools` is installed."""

ABSOLUTE_FORM = re.compile(rb"https?://([^/@]+)(/.*)?", re.IGNORECASE | re.DOTALL)
"""A request target that is a whole URL, without its query."""


class OriginForm:
    """Gives the application the path of a request whose target is a whole URL (RFC 9112 section 3.2.2).

    The host of the target counts, and not the header `Host` beside it. uvicorn takes the URL apart with `httptools`
    only, and then answers 400 when the URL has no path (https://github.com/Kludex/uvicorn/pull/3097).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (absolute := ABSOLUTE_FORM.fullmatch(scope["raw_path"])):
            host, path = absolute[1], absolute[2] or b"/"
            scope["raw_path"], scope["path"] = path, unquote(path.decode("ascii"))
            scope["headers"] = [(b"host", host), *(pair for pair in scope["headers"] if pair[0] != b"host")]
        await self.app(scope, receive, send)


def server_config(app: ASGIApp, *, drain_seconds: int, parser: Parser = PARSER, **listener: Any) -> uvicorn.Config:
    """Return the configuration of a uvicorn server that serves `app`.

    Args:
        app: the application.
        drain_seconds: how long requests may still run after the signal to stop.
        parser: the HTTP parser.
        listener: `host` and `port`, unless the server is given open sockets.
    """
    return uvicorn.Config(
        OriginForm(app),
        http=parser,
        ws="none",  # no service speaks WebSocket
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a client could name any address as its own
        # Without this a request may start in the context of an earlier request of the same connection: asyncio calls a
        # protocol in the context of whatever resumed reading (https://github.com/python/cpython/issues/140947). Trace,
        # baggage and every other context variable of one person would then reach the next.
        reset_contextvars=True,
        timeout_graceful_shutdown=drain_seconds,
        **listener,
    )
