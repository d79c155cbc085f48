"""Running: everything in one process on one port, until Ctrl-C or SIGTERM; then it drains and ends."""

import asyncio
import os
import socket
import sys

from tidings.http.settings import HttpSettings
from tidings.serving import Server, ServerConfig, listen, server_config
from tidings.telemetry.logs import configure_logging, log_uncaught_errors
from tidings.terminal import drop_what_nobody_reads, say
from tidings_local.backends import Backends, embedded_backends, real_backends
from tidings_local.folder import data_folder
from tidings_local.gateway import Gateway
from tidings_local.home import create_home
from tidings_local.services import Services, build_services
from tidings_local.settings import LocalSettings

FINISH_SECONDS = 2
LOST = "the log's database did not take the last events, and the embedded Kafka has forgotten them."


def run(settings: LocalSettings) -> None:
    """Run Tidings until a signal ends it.

    Raises:
        SettingsError: it cannot listen where it should, or the folder cannot be used.
        ServerMissing, ServerFailed: with `REAL=1`, a server cannot be started.
    """
    drop_what_nobody_reads()
    configure_logging("INFO")
    log_uncaught_errors()
    os.umask(0o077)  # databases and keys are nobody else's
    with listen(settings.host, settings.port, "TIDINGS_HOST", "PORT") as listener, data_folder(settings.data) as folder:
        backends = real_backends(folder / "servers") if settings.real else embedded_backends(folder)
        with backends as opened:
            _serve_until_signal(settings, opened, listener)


def _serve_until_signal(settings: LocalSettings, backends: Backends, listener: socket.socket) -> None:
    """Serve; a signal ends it with exit code 0, or 1 when the embedded Kafka took unstored events with it."""
    gateways: list[Gateway] = []
    try:
        asyncio.run(_serve(settings, backends, listener, gateways))
    finally:
        ran = gateways and "logs" in gateways[0].states
        if ran:
            lost = not gateways[0].states["logs"]["consumer"].drained
            say(f"Tidings: ended; {LOST if lost else 'nothing is left to send.'}")
            if lost:
                sys.exit(1)


async def _serve(settings: LocalSettings, backends: Backends, listener: socket.socket, gateways: list[Gateway]) -> None:
    services = build_services(backends, settings.data.resolve() / "secrets", settings.url)
    gateway = Gateway(services.apps, create_home(backends.described, lambda: gateway.states))
    gateways.append(gateway)
    limits = HttpSettings(drain_seconds=0)  # nobody balances load between several of these
    config = server_config(gateway, limits, finish_seconds=FINISH_SECONDS)
    await _Server(config, services, settings, backends).serve(sockets=[listener])


class _Server(Server):
    """Migrates the databases before it serves, and says where it is once it answers.

    The server has taken the signals over by then, so none interrupts a migration half-way.
    """

    def __init__(self, config: ServerConfig, services: Services, settings: LocalSettings, backends: Backends) -> None:
        super().__init__(config)
        self._services = services
        self._settings = settings
        self._backends = backends

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._services.migrate()
        await super().startup(sockets)
        if self.started:
            say(_banner(self._settings, self._backends))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        say("Tidings: finishing what is under way …")
        await super().shutdown(sockets)


def _banner(settings: LocalSettings, backends: Backends) -> str:
    return (
        f"\n  Tidings runs at    {settings.url}\n"
        f"  API documents      {settings.url}/docs\n"
        f"  Events             {settings.url}/docs/events, with BROKERS={backends.kafka}\n"
        f"  Backends           {backends.described}\n"
        f"  Data               {settings.data.resolve()}\n"
        f"  See it work        make demo PORT={settings.port}\n"
        f"  Stop               Ctrl-C\n"
    )
