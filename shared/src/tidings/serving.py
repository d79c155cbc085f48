"""Serving: the one way to put an application behind a port, used by services, the local runner and the tests."""

import errno
import re
import socket
from types import FrameType
from typing import Literal
from urllib.parse import unquote

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from tidings.addresses import in_url
from tidings.settings import SettingsError
from tidings.signals import keep_stopping

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


ABOUT_THE_PORT = (errno.EADDRINUSE, errno.EACCES, errno.EPERM)


def server_config(app: ASGIApp, *, drain_seconds: int, parser: Parser = PARSER) -> uvicorn.Config:
    """Return the configuration of a uvicorn server that serves `app` on the sockets that it is given.

    Args:
        app: the application.
        drain_seconds: how long requests may still run after the signal to stop.
        parser: the HTTP parser.
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
    )


def listen(host: str, port: int, host_variable: str, port_variable: str) -> socket.socket:
    """Return a socket that listens at `host` and `port`; `::` takes IPv4 connections too.

    Args:
        host: an IP address, or a name whose first address is taken.
        port: the port.
        host_variable: the setting that a wrong host is blamed on.
        port_variable: the setting that a port which cannot be had is blamed on.

    Raises:
        SettingsError: it cannot listen there.
    """
    place = f"{in_url(host)}:{port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        both = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address[:2], family=family, dualstack_ipv6=both)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in ABOUT_THE_PORT:
            reason = f"{port_variable}: {place} cannot be used: {reason.partition(' (')[0]}; choose another port"
        else:
            reason = f"{host_variable}: {place} is not an address of this machine: {reason.partition(' (')[0]}"
        raise SettingsError(reason) from None


class Server(uvicorn.Server):
    """uvicorn, whose shutdown no second signal cuts short.

    On a second Ctrl-C uvicorn itself would skip the shutdown of the application, which stores and sends what is left.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown at the first signal; let it finish at any later one."""
        if self.should_exit:
            keep_stopping(sig)
        else:
            super().handle_exit(sig, frame)
