"""Serving: the one way to put an application behind a port, used by services, the local runner and the tests."""

import asyncio
import errno
import logging
import resource
import signal
import socket
from contextlib import suppress
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import CLOSE_HEADER

from tidings.addresses import in_url
from tidings.connections import Connections, Parser, protocol
from tidings.http.settings import HttpSettings
from tidings.listeners import close_listeners, stop_handshakes
from tidings.settings import SettingsError
from tidings.signals import keep_stopping, stop_is_requested

logger = logging.getLogger(__name__)

PARSER: Parser = "h11"
"""The HTTP parser in use. It is named here because uvicorn would otherwise change it when `httptools` is installed."""

OWN_FILES = 128
"""Files that a process needs besides its clients' connections: databases, Kafka, Redis, logs."""
MOST_BACKLOG = 2048
HANDSHAKE_SECONDS = 0.2
"""How long a client may take to complete a connection that it has begun; longer than most ways are."""

ABOUT_THE_PORT = (errno.EADDRINUSE, errno.EACCES, errno.EPERM)


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration, and the limits of the server's connections."""

    limits: HttpSettings
    most_connections: int


def server_config(
    app: ASGIApp,
    limits: HttpSettings | None = None,
    *,
    finish_seconds: int,
    parser: Parser = PARSER,
) -> ServerConfig:
    """Return the configuration of a `Server` that serves `app` on the sockets that it is given.

    Args:
        app: the application.
        limits: how long a client may take, and how many connections there may be; the defaults when not given.
        finish_seconds: how long requests may still run once the server has stopped to listen.
        parser: the HTTP parser.
    """
    limits = limits or HttpSettings()
    most_connections, backlog = _within_file_limit(limits.max_connections)
    config = ServerConfig(
        app,
        http=protocol(parser),
        ws="none",  # no service speaks WebSocket
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a client could name any address as its own
        # Without this a request may start in the context of an earlier request of the same connection: asyncio calls a
        # protocol in the context of whatever resumed reading (https://github.com/python/cpython/issues/140947). Trace,
        # baggage and every other context variable of one person would then reach the next.
        reset_contextvars=True,
        backlog=backlog,
        timeout_graceful_shutdown=finish_seconds,
    )
    config.limits, config.most_connections = limits, most_connections
    return config


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
    """uvicorn with limits on its connections, and a shutdown that fails no request of a kept connection.

    After SIGTERM it first drains for `TIDINGS_HTTP_DRAIN_SECONDS`: it still listens and answers, but readiness says 503
    and each answer says that its connection closes. SIGINT, or a second signal, skips that. No second signal skips the
    shutdown of the application, as uvicorn's own second Ctrl-C does: it stores and sends what is left.
    """

    def __init__(self, config: ServerConfig) -> None:
        super().__init__(config)
        self.limits = config.limits
        self.server_state: Connections = Connections(config.limits, config.most_connections)
        self.drains = False
        """Whether to drain before the shutdown."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, unless a signal came before this server took the signals over, or while it prepared."""
        self.should_exit = self.should_exit or stop_is_requested()
        if not self.should_exit:
            await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown at the first signal; let it finish, without draining, at any later one."""
        self.drains = sig == signal.SIGTERM and not self.should_exit
        if self.should_exit:
            keep_stopping(sig)
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Look once a second for clients that take too long."""
        if counter % 10 == 0:
            self.server_state.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def main_loop(self) -> None:
        """Serve until a signal, then drain."""
        await super().main_loop()
        if self.drains:
            self.lifespan.state["draining"] = True
            self._say_close()
            for counter in range(round(self.limits.drain_seconds * 10)):
                await self.on_tick(counter)
                await asyncio.sleep(0.1)
                if not self.drains:
                    return
            stop_handshakes(self.servers)
            await asyncio.sleep(HANDSHAKE_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to listen, and end."""
        self._say_close()
        for connection in close_listeners(self.servers):
            with suppress(OSError):
                await asyncio.get_running_loop().connect_accepted_socket(self._guarded, connection)
        await super().shutdown(sockets)

    def _say_close(self) -> None:
        """Have each answer from now on say that its connection closes."""
        if CLOSE_HEADER not in self.config.encoded_headers:
            self.config.encoded_headers.append(CLOSE_HEADER)
            self.server_state.say_close()

    def _guarded(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # uvicorn calls it like this
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


def _within_file_limit(wanted: int) -> tuple[int, int]:
    """Raise the limit of open files as far as allowed; return how many connections, and how many not yet accepted, fit.

    asyncio accepts up to the whole backlog before the first of these connections can be refused.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted, MOST_BACKLOG
    backlog = max(1, min(MOST_BACKLOG, (hard - OWN_FILES) // 4))
    fitting = max(1, min(wanted, hard - OWN_FILES - backlog))
    if fitting < wanted:
        logger.warning(
            "TIDINGS_HTTP_MAX_CONNECTIONS: %d connections do not fit in %d open files, %d are allowed; raise the limit"
            " of open files (ulimit -n)",
            wanted,
            hard,
            fitting,
        )
    return fitting, backlog
