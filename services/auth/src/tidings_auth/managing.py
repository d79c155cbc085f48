"""Managing at the command line: the first admin, and what must be possible when nobody can sign in.

All of it is written to the database alone; the running service tells the others within a second.
"""

import argparse
import contextlib
import getpass
import re
import sys
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

from opentelemetry.trace import NoOpTracerProvider
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.commands import Command, CommandFailed, with_database
from tidings.database.moments import database_now
from tidings.database.settings import DatabaseSettings
from tidings.database.transactions import Database, Transaction
from tidings.idempotency.once import Idempotency
from tidings.outbox.record import Outbox
from tidings.settings import Settings, group
from tidings.terminal import Listing, file_path
from tidings.text import one_line
from tidings.text_file import decode
from tidings_auth import usernames
from tidings_auth.accounts import Account, Accounts, NoSuchAccount, locked
from tidings_auth.administration import Administration, LastAdmin
from tidings_auth.ending import Ending
from tidings_auth.passwords import Passwords, check_policy
from tidings_auth.registration import Registration, UsernameTaken
from tidings_auth.settings import PasswordSettings
from tidings_auth.tables import idempotency_keys, sessions
from tidings_auth.tables import outbox as outbox_rows

SOURCE = "tidings-auth"
FILE_HELP = "file with the password on one line in UTF-8, - for standard input; without it you are asked"
MAX_OCTETS = 4096
"""More than any password has."""
_STRAY = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
"""Controls, line separators and byte order marks: nobody types these, but editors and shells leave them behind."""

Work = Callable[["Management", argparse.Namespace], Coroutine[Any, Any, str]]


class ManagementSettings(Settings):
    """What these commands need to know."""

    database: DatabaseSettings = group()
    password: PasswordSettings = group()


class Management:
    """What these commands do it with.

    Args:
        database: of the auth service.
        settings: what a password must be.
        passwords: hashes.
    """

    def __init__(self, database: Database, settings: ManagementSettings, passwords: Passwords) -> None:
        outbox, tracer = Outbox(outbox_rows, SOURCE), NoOpTracerProvider().get_tracer(SOURCE)
        self.settings = settings
        self.database = database
        self.ending = Ending(outbox)
        idempotency = Idempotency(database, idempotency_keys, secret="")  # commands bring no keys
        self.accounts = Accounts(database, passwords)
        self.registration = Registration(database, idempotency, outbox, passwords, tracer)
        self.administration = Administration(database, outbox, self.ending, tracer)


def _command(
    name: str, text: str, work: Work, add_arguments: Callable[[argparse.ArgumentParser], None]
) -> Command[Any]:
    def run(arguments: argparse.Namespace, settings: ManagementSettings) -> str:
        async def managed(database: Database) -> str:
            with contextlib.closing(Passwords()) as passwords:
                try:
                    return await work(Management(database, settings, passwords), arguments)
                except (NoSuchAccount, LastAdmin, UsernameTaken) as error:
                    raise CommandFailed(str(error)) from None

        return with_database(settings.database, managed)

    return Command(name, text, ManagementSettings, run, add_arguments)


def add_create_admin(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `create-admin`."""
    parser.add_argument("username")
    parser.add_argument("--password-file", metavar="FILE", help=FILE_HELP)
    parser.add_argument(
        "--promote", action="store_true", help="make an account that exists an admin; needs no password"
    )


def add_username(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `disable`, `enable` and `respell`."""
    parser.add_argument("username")


def add_sessions(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sessions`."""
    parser.add_argument("username")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--end", metavar="ID", type=UUID, help="end this session")
    which.add_argument("--end-all", action="store_true", help="end all of them")


async def create_admin(management: Management, arguments: argparse.Namespace) -> str:
    """Make an admin. To run it again is no error, so a job that is repeated may."""
    username = _allowed(arguments.username)
    try:
        account = await management.accounts.named(username)
    except NoSuchAccount:
        if arguments.promote:
            raise
        password = _password(arguments.password_file, username, management.settings.password.min_length)
        try:
            await management.registration.register(username, password, role="admin")
            return f"{username} is an admin now"
        except UsernameTaken:
            found = await management.accounts.credentials(username)
            if found is None:
                reason = "is the name of a deleted account and stays taken; choose another."
                raise CommandFailed(f"{username} {reason}") from None
            account, _ = found  # made by the same job, run twice at the same time
    if account.role == "admin" and account.disabled:
        name = account.username
        raise CommandFailed(f"{name} is an admin, and disabled; to let it sign in: enable {name}")
    if account.role == "admin":
        return f"{account.username} is an admin already; the password stays as it is"
    if not arguments.promote:
        raise CommandFailed(f"{account.username} is an account without the role; to give it the role, add --promote")
    await management.administration.change(account.id, None, role="admin")
    return f"{account.username} is an admin now; its sessions have ended"


async def disable(management: Management, arguments: argparse.Namespace) -> str:
    """Have an account no longer sign in, and end its sessions."""
    account = await management.accounts.named(arguments.username)
    await management.administration.change(account.id, None, disabled=True)
    return f"{account.username} is disabled, and its sessions have ended"


async def enable(management: Management, arguments: argparse.Namespace) -> str:
    """Let a disabled account sign in again."""
    account = await management.accounts.named(arguments.username)
    await management.administration.change(account.id, None, disabled=False)
    return f"{account.username} may sign in"


async def respell(management: Management, arguments: argparse.Namespace) -> str:
    """Show an account's name as it is written here; both spellings must count as the same name."""
    username = _allowed(arguments.username)
    account = await management.accounts.named(username)
    await management.administration.respell(account.id, username)
    return f"{username} is shown like this from the next sign-in or refresh on"


async def list_or_end_sessions(management: Management, arguments: argparse.Namespace) -> str:
    """List the live sessions of an account, or end them."""
    account = await management.accounts.named(arguments.username)
    if arguments.end is None and not arguments.end_all:
        return await _listed(management.database, account)
    which = sessions.c.id == arguments.end if arguments.end else None

    async def write(transaction: Transaction) -> int:
        current = await locked(transaction, account.id)
        return len(await management.ending.end(transaction, current, "operator", which))

    ended = await management.database.run_in_transaction(write)
    if arguments.end and not ended:
        raise CommandFailed(f"{account.username} has no live session {arguments.end}")
    return "1 session ended" if ended == 1 else f"{ended} sessions ended"


COMMANDS = (
    _command("create-admin", "make an account that may manage all others", create_admin, add_create_admin),
    _command("disable", "have an account no longer sign in, and end its sessions", disable, add_username),
    _command("enable", "let a disabled account sign in again", enable, add_username),
    _command("respell", "show a username in the spelling given here", respell, add_username),
    _command("sessions", "list where an account is signed in, or end it", list_or_end_sessions, add_sessions),
)


def _allowed(username: str) -> str:
    try:
        return usernames.normalised(username)
    except ValueError as error:
        raise CommandFailed(f"{one_line(username) or '(blank)'}: {error}") from None


async def _listed(database: Database, account: Account) -> str:
    live = (sessions.c.user_id == account.id) & sessions.c.ended_at.is_(None) & (sessions.c.expires_at > database_now())

    async def read(connection: AsyncConnection) -> list[str]:
        rows = await connection.execute(select(sessions).where(live).order_by(sessions.c.id.desc()))
        return [
            f"{row.id}  signed in {row.created_at:%Y-%m-%d %H:%M}  last seen {row.last_seen_at:%Y-%m-%d %H:%M} UTC  "
            f"{row.address or '-'}  {one_line(row.device or '') or '-'}"
            for row in rows
        ]

    return Listing("\n".join(await database.read(read)) or f"{account.username} is signed in nowhere")


def _password(file: str | None, username: str, min_length: int) -> str:
    try:
        password = _asked() if file is None else _in_file(file)
        check_policy(password, username, min_length)
    except UnicodeDecodeError:  # whose message has a part of it
        raise CommandFailed("the password cannot be taken: it is not in the encoding of this terminal") from None
    except ValueError as error:
        raise CommandFailed(f"the password cannot be taken: {error}") from None
    return password


def _in_file(file: str) -> str:
    """Return the one line of a file, without the line's end, and otherwise exactly as it is there."""
    name = "standard input" if file == "-" else one_line(file)
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if file == "-" else file_path(file).open("rb") as opened:
            octets = opened.read(MAX_OCTETS + 1)
        line = decode(octets).removesuffix("\n").removesuffix("\r")
        if not line:
            raise ValueError("it is empty")
        if len(octets) > MAX_OCTETS or "\n" in line or "\r" in line:
            raise ValueError("it has more than one line, or a very long one; put the password there alone")
        _refuse_stray(line)
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return line


def _asked() -> str:
    if not sys.stdin.isatty():
        raise ValueError("there is nobody to ask; give --password-file")
    try:
        password, again = getpass.getpass("Password: "), getpass.getpass("Once more: ")
    except EOFError:
        raise ValueError("it was not given") from None
    if again != password:
        raise ValueError("the two are not the same")
    _refuse_stray(password)
    return password


def _refuse_stray(password: str) -> None:
    if _STRAY.search(password):
        raise ValueError("it has a control character, line separator or byte order mark in it; remove that")
