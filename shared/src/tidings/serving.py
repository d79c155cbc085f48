"""Serving: the one way to put an application behind a port, used by services, the local runner and the tests."""

from typing import Any, Literal

import uvicorn
from starlette.types import ASGIApp

Parser = Literal["h11", "httptools"]

PARSER: Parser = "h11"
"""The HTTP parser in use. It is named here because uvicorn would otherwise change it when `httptools` is installed."""


def server_config(app: ASGIApp, *, drain_seconds: int, parser: Parser = PARSER, **listener: Any) -> uvicorn.Config:
    """Return the configuration of a uvicorn server that serves `app`.

    Args:
        app: the application.
        drain_seconds: how long requests may still run after the signal to stop.
        parser: the HTTP parser.
        listener: `host` and `port`, unless the server is given open sockets.
    """
    return uvicorn.Config(
        app,
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
