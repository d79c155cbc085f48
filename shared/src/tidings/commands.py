"""Commands: what `python -m tidings_<service>` does, the same for every service."""

import argparse
import asyncio
import gc
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import uvicorn
from fastapi import FastAPI
from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError

from tidings.database.engine import create_engine
from tidings.database.migrations import upgrade
from tidings.database.settings import DatabaseSettings
from tidings.database.transactions import Database, DatabaseUnavailable
from tidings.http.settings import HttpSettings
from tidings.outbox import commands as outbox_commands
from tidings.settings import Settings, SettingsError, load
from tidings.signals import end_on_signals
from tidings.telemetry.logs import configure_logging

DRAIN_SECONDS = 5


class ServiceSettings(Settings):
    """What `serve` and `migrate` need to know."""

    http: HttpSettings
    database: DatabaseSettings


S = TypeVar("S", bound=ServiceSettings)


def main(
    package: str,
    kind: type[S],
    create_app: Callable[[S], FastAPI],
    argv: Sequence[str] | None = None,
    *,
    outbox: Table | None = None,
) -> int:
    """Run one command of a service and return the exit code.

    Args:
        package: the service's import name; its migrations are found by it.
        kind: its settings.
        create_app: its composition root.
        argv: the command line, that of the process when not given.
        outbox: its outbox, when it has one.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {package}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="answer HTTP and run the service's background tasks")
    commands.add_parser("migrate", help="bring the database to the newest schema")
    if outbox is not None:
        outbox_commands.add_arguments(commands.add_parser("outbox", help="see and mend what is not published yet"))
    arguments = parser.parse_args(argv)
    try:
        settings = load(kind)
        configure_logging(settings.log_level)
        if arguments.command == "migrate":
            return _migrate(package, settings)
        if arguments.command == "outbox" and outbox is not None:
            return _outbox(arguments, settings, outbox)
        return _serve(create_app(settings), settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2


def _serve(app: FastAPI, settings: ServiceSettings) -> int:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.http.host,
            port=settings.http.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # a client could name any address as its own
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )
    end_on_signals()
    gc.freeze()  # what is imported stays; the collector need not go through it again and again
    server.run()
    return 0 if server.started else 1


def _outbox(arguments: argparse.Namespace, settings: ServiceSettings, outbox: Table) -> int:
    async def run() -> str:
        engine = create_engine(settings.database)
        try:
            database = Database(engine, settings.database.deadline_seconds)
            return await outbox_commands.run(arguments, database, outbox)
        finally:
            await engine.dispose()

    try:
        print(asyncio.run(run()))
    except (LookupError, DatabaseUnavailable) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _migrate(package: str, settings: ServiceSettings) -> int:
    async def run() -> None:
        engine = create_engine(settings.database)
        try:
            await upgrade(engine, package)
        finally:
            await engine.dispose()

    try:
        asyncio.run(run())
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        print(f"TIDINGS_DATABASE_URL: the database cannot be migrated: {reason}", file=sys.stderr)
        return 1
    return 0
