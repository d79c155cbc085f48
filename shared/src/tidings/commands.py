"""Commands: what `python -m tidings_<service>` does, the same for every service."""

import argparse
import asyncio
import gc
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from fastapi import FastAPI
from sqlalchemy import Table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tidings.database.engine import create_engine
from tidings.database.migration_lock import LOCK_SECONDS, TABLE_SECONDS, MigrationLocked
from tidings.database.schema import WrongSchema
from tidings.database.settings import DatabaseSettings
from tidings.database.transactions import LOCK_WAIT, Database, DatabaseUnavailable, error_code
from tidings.http.settings import HttpSettings
from tidings.known_secrets import mask
from tidings.outbox import commands as outbox_commands
from tidings.serving import Server, listen, server_config
from tidings.settings import Settings, SettingsError, load
from tidings.signals import end_on_signals
from tidings.telemetry.logs import configure_logging, log_uncaught_errors
from tidings.terminal import complain, drop_what_nobody_reads, say

FINISH_SECONDS = 5
"""How long requests may still run once a service has stopped to listen."""
OPERATOR_SECONDS = 60.0
"""Time for one unit of work of a command: an operator can wait longer than a request's client."""


class ServiceSettings(Settings):
    """What `serve` and `migrate` need to know."""

    http: HttpSettings
    database: DatabaseSettings


S = TypeVar("S", bound=Settings)
Service = TypeVar("Service", bound=ServiceSettings)


class CommandFailed(Exception):
    """A command could not do its work; the message is all that a person is shown."""


def _no_arguments(_: argparse.ArgumentParser) -> None:
    """Declare none."""


@dataclass(frozen=True)
class Command(Generic[S]):
    """One thing that a service's command line does."""

    name: str
    help: str
    settings: type[S]
    """What it needs to know; no more is asked for than this."""
    run: Callable[[argparse.Namespace, S], str]
    """Does it and returns what to print, as a `Listing` when the command does nothing else.

    Raises `CommandFailed` or `DatabaseUnavailable` when it cannot.
    """
    add_arguments: Callable[[argparse.ArgumentParser], None] = _no_arguments


def main(
    package: str,
    kind: type[Service],
    create_app: Callable[[Service], FastAPI],
    argv: Sequence[str] | None = None,
    *,
    outbox: Table | None = None,
    commands: Sequence[Command[Any]] = (),
) -> int:
    """Run one command of a service and return the exit code: 2 for wrong settings or usage, 1 for a failure.

    Args:
        package: the service's import name; its migrations are found by it.
        kind: its settings.
        create_app: its composition root.
        argv: the command line, that of the process when not given.
        outbox: its outbox, when it has one.
        commands: what it does besides.
    """
    offered: list[Command[Any]] = [
        Command("migrate", "bring the database to the newest schema", kind, partial(_migrate, package), _wait),
        *([] if outbox is None else [_outbox(kind, outbox)]),
        *commands,
    ]
    parser = argparse.ArgumentParser(prog=f"python -m {package}")
    parsers = parser.add_subparsers(required=True)
    parsers.add_parser("serve", help="answer HTTP and run the service's background tasks").set_defaults(command=None)
    for command in offered:
        own = parsers.add_parser(command.name, help=command.help, description=command.help, allow_abbrev=False)
        own.set_defaults(command=command)
        command.add_arguments(own)
    arguments = parser.parse_args(argv)
    try:
        if arguments.command is None:
            end_on_signals()
            settings = _settings(kind)
            return _serve(create_app(settings), settings)
        say(arguments.command.run(arguments, _settings(arguments.command.settings)))
    except SettingsError as error:
        complain(mask(str(error)))
        return 2
    except (CommandFailed, DatabaseUnavailable) as error:
        complain(mask(str(error)))
        return 1
    return 0


def with_database(settings: DatabaseSettings, work: Callable[[Database], Coroutine[Any, Any, str]]) -> str:
    """Open the database for a command, and return what `work` does with it."""

    async def run() -> str:
        engine = create_engine(settings, statement_seconds=OPERATOR_SECONDS)
        try:
            return await work(Database(engine, OPERATOR_SECONDS))
        finally:
            await engine.dispose()

    return asyncio.run(run())


async def migrate(package: str, settings: DatabaseSettings, wait: float = LOCK_SECONDS) -> str:
    """Bring a service's database to the newest schema; for the arguments and the returned line see `upgrade`.

    Raises:
        CommandFailed: it is not, and the message says why and what to do.
    """
    from alembic.util import CommandError as AlembicError  # here: `serve` starts a quarter sooner without Alembic

    from tidings.database.migrations import upgrade

    engine = create_engine(settings)
    try:
        return await upgrade(engine, package, wait=wait)
    except MigrationLocked as error:
        raise CommandFailed(str(error)) from None
    except WrongSchema as error:
        raise CommandFailed(f"TIDINGS_DATABASE_URL: {error}") from None
    except (AlembicError, SQLAlchemyError) as error:
        reason = getattr(error, "orig", None) or error
        remedy = ""
        if isinstance(error, DBAPIError) and error_code(error) == LOCK_WAIT:
            remedy = f"; a transaction has used the table for {TABLE_SECONDS} s: end it and run this again"
        raise CommandFailed(f"TIDINGS_DATABASE_URL: the database cannot be migrated: {reason}{remedy}") from None
    finally:
        await engine.dispose()


def _settings(kind: type[S]) -> S:
    settings = load(kind)
    configure_logging(settings.log_level)
    log_uncaught_errors()
    return settings


def _serve(app: FastAPI, settings: ServiceSettings) -> int:
    http = settings.http
    sockets = [listen(http.host, http.port, "TIDINGS_HTTP_HOST", "TIDINGS_HTTP_PORT")]
    if http.management_port:
        sockets.append(listen(http.host, http.management_port, "TIDINGS_HTTP_HOST", "TIDINGS_HTTP_MANAGEMENT_PORT"))
    server = Server(server_config(app, http, finish_seconds=FINISH_SECONDS))
    drop_what_nobody_reads()
    gc.freeze()  # what is imported stays; the collector need not go through it again and again
    server.run(sockets)
    return 0 if server.started or server.should_exit else 1


def _outbox(kind: type[Service], table: Table) -> Command[Service]:
    def run(arguments: argparse.Namespace, settings: Service) -> str:
        try:
            return with_database(settings.database, lambda database: outbox_commands.run(arguments, database, table))
        except LookupError as error:
            raise CommandFailed(str(error)) from None

    help_text = "see and mend what is not published yet"
    return Command("outbox", help_text, kind, run, outbox_commands.add_arguments)


def _migrate(package: str, arguments: argparse.Namespace, settings: ServiceSettings) -> str:
    return asyncio.run(migrate(package, settings.database, arguments.wait))


def _wait(parser: argparse.ArgumentParser) -> None:
    help_text = f"seconds to wait for another migration of this database ({LOCK_SECONDS:g})"
    parser.add_argument("--wait", type=_seconds, default=LOCK_SECONDS, metavar="SECONDS", help=help_text)


def _seconds(text: str) -> float:
    """Return a length of time; argparse reports the `ValueError` of one that is negative or endless."""
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError
    return seconds
