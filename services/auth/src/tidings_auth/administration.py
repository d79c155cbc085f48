"""Administration: what an admin does to accounts, over HTTP or at the command line."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from opentelemetry.trace import Tracer
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.moments import database_now
from tidings.database.transactions import Database, Transaction
from tidings.events import UserDisabled, UserEnabled, UserRenamed, UserRoleChanged
from tidings.events.accounts import AccountEvent
from tidings.outbox.record import Outbox
from tidings.principal import Role
from tidings.telemetry import names
from tidings_auth.accounts import Account, account_of, locked, next_sequence
from tidings_auth.ending import Ending
from tidings_auth.tables import users
from tidings_auth.usernames import folded


class NotAdmin(Exception):
    """The caller's role does not allow this."""


class LastAdmin(Exception):
    """Without this account nobody could manage accounts."""


async def keep_an_admin(transaction: Transaction, account: Account) -> None:
    """Have the transaction fail when `account` is the only admin who can sign in.

    Raises:
        LastAdmin: it is.
    """
    if account.role != "admin" or account.disabled:
        return
    # Locked, so that two admins cannot take each other's role at the same time.
    able = (users.c.role == "admin") & users.c.disabled_at.is_(None)
    admins = (await transaction.execute(select(users.c.id).where(able).with_for_update())).scalars().all()
    if set(admins) <= {account.id}:
        raise LastAdmin("This is the only admin; make another one first.")


class Administration:
    """Lists and changes accounts.

    Args:
        database: of the auth service.
        outbox: takes the events.
        ending: ends the sessions of an account that may do other things than before.
        tracer: makes the business spans.
    """

    def __init__(self, database: Database, outbox: Outbox, ending: Ending, tracer: Tracer) -> None:
        self._database = database
        self._outbox = outbox
        self._ending = ending
        self._tracer = tracer

    async def accounts(
        self, limit: int, before: UUID | None = None, username: str | None = None
    ) -> tuple[Sequence[Account], UUID | None]:
        """Return up to `limit` accounts, newest first, and where the next page starts.

        Args:
            limit: the most there may be.
            before: the last one of the page before.
            username: only the account of this name.
        """
        statement = select(users).order_by(users.c.id.desc()).limit(limit + 1)
        if before:
            statement = statement.where(users.c.id < before)
        if username is not None:
            statement = statement.where(users.c.username_folded == folded(username))

        async def read(connection: AsyncConnection) -> Sequence[Account]:
            return [account_of(row) for row in await connection.execute(statement)]

        found = await self._database.read(read)
        page = found[:limit]
        return page, page[-1].id if len(found) > limit else None

    async def change(
        self, user_id: UUID, by: UUID | None, *, disabled: bool | None = None, role: Role | None = None
    ) -> Account:
        """Disable or enable an account, or give it a role; what it is already stays without an event.

        Its sessions end: those of a disabled account, and those whose tokens name another role.

        Args:
            user_id: whose.
            by: the admin; `None` at the command line.
            disabled: whether it may not sign in; `None` leaves it as it is.
            role: the new role; `None` leaves it as it is.

        Raises:
            NoSuchAccount: it is gone.
            NotAdmin: `by` is no admin any more, whatever the access token says.
            LastAdmin: nobody else could manage accounts.
            DatabaseUnavailable: nothing is known to have changed.
        """

        async def write(transaction: Transaction) -> Account:
            account = await locked(transaction, user_id)
            await _require_admin(transaction, by)
            changed = replace(
                account,
                disabled=account.disabled if disabled is None else disabled,
                role=role or account.role,
            )
            if changed.role != "admin" or changed.disabled:
                await keep_an_admin(transaction, account)
            await self._apply(transaction, account, changed, by)
            return changed

        with self._tracer.start_as_current_span(names.SPAN_CHANGE_ACCOUNT):
            return await self._database.run_in_transaction(write)

    async def respell(self, user_id: UUID, username: str) -> Account:
        """Show an account's name in another spelling; the spelling that it has already makes no event.

        Args:
            user_id: whose.
            username: as `normalised` returns it; it must find this account.

        Raises:
            NoSuchAccount: it is gone.
            DatabaseUnavailable: nothing is known to have changed.
        """

        async def write(transaction: Transaction) -> Account:
            account = await locked(transaction, user_id)
            if account.username == username:
                return account
            renamed = replace(account, username=username)
            await transaction.execute(update(users).where(users.c.id == user_id).values(username=username))
            await self._record(transaction, UserRenamed(**_who(renamed)))
            return renamed

        return await self._database.run_in_transaction(write)

    async def _apply(self, transaction: Transaction, before: Account, after: Account, by: UUID | None) -> None:
        """Write what changed, with its events, and end the sessions that it concerns."""
        row = update(users).where(users.c.id == after.id)
        if after.role != before.role:
            await transaction.execute(row.values(role=after.role))
            await self._record(transaction, UserRoleChanged(**_who(after), role=after.role, by=by))
            await self._ending.end(transaction, after, "role_changed")
        if after.disabled and not before.disabled:
            await transaction.execute(row.values(disabled_at=database_now()))
            await self._record(transaction, UserDisabled(**_who(after), by=by))
            await self._ending.end(transaction, after, "disabled")
        if before.disabled and not after.disabled:
            await transaction.execute(row.values(disabled_at=None))
            await self._record(transaction, UserEnabled(**_who(after), by=by))

    async def _record(self, transaction: Transaction, event: AccountEvent) -> None:
        await self._outbox.record(transaction, event, await next_sequence(transaction, event.user_id))


async def _require_admin(transaction: Transaction, by: UUID | None) -> None:
    able = (users.c.id == by) & (users.c.role == "admin") & users.c.disabled_at.is_(None)
    if by is not None and not (await transaction.execute(select(users.c.id).where(able))).first():
        raise NotAdmin("Only an admin may do this.")


def _who(account: Account) -> dict[str, Any]:
    return {"user_id": account.id, "username": account.username}
