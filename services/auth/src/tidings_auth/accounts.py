"""Accounts: finding them, and renewing the hashes of their passwords."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings.principal import Role
from tidings.text import one_line
from tidings_auth.passwords import HashingBusy, Passwords, Verdict
from tidings_auth.tables import users
from tidings_auth.usernames import folded

logger = logging.getLogger(__name__)


class NoSuchAccount(Exception):
    """There is no such account any more."""


@dataclass(frozen=True)
class Account:
    """One person's account, without the password's hash."""

    id: UUID
    username: str
    role: Role
    created_at: datetime
    disabled: bool = False


def account_of(row: Row[Any]) -> Account:
    """Return the account in a row of `users`."""
    return Account(row.id, row.username, row.role, row.created_at, row.disabled_at is not None)


async def locked(transaction: Transaction, user_id: UUID) -> Account:
    """Return an account as it is now, and have nobody else change it until the transaction ends.

    Raises:
        NoSuchAccount: it is gone.
    """
    row = (await transaction.execute(select(users).where(users.c.id == user_id).with_for_update())).first()
    if row is None:
        raise NoSuchAccount("This account is gone.")
    return account_of(row)


async def has_hash(transaction: Transaction, user_id: UUID, encoded: str) -> bool:
    """Tell whether the password that was verified by `encoded` is the account's still; call it under `locked`."""
    same = (users.c.id == user_id) & (users.c.password_hash == encoded)
    return (await transaction.execute(select(users.c.id).where(same))).first() is not None


async def next_sequence(transaction: Transaction, user_id: UUID, count: int = 1) -> int:
    """Take the number of an account's next event; holds the lock of its row until the transaction ends.

    Args:
        transaction: of the change that the event tells of.
        user_id: whose.
        count: how many numbers to take; the first is returned.
    """
    row = users.c.id == user_id
    await transaction.execute(update(users).where(row).values(event_sequence=users.c.event_sequence + count))
    last = (await transaction.execute(select(users.c.event_sequence).where(row))).scalar_one()
    return int(last) - count + 1


class Accounts:
    """Finds accounts.

    Args:
        database: of the auth service.
        passwords: hashes.
    """

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords

    async def profile(self, user_id: UUID) -> Account:
        """Return the account with this id.

        Raises:
            NoSuchAccount: it is gone.
        """
        return (await self.secret(user_id))[0]

    async def secret(self, user_id: UUID) -> tuple[Account, str]:
        """Return the account with this id and the hash of its password.

        Raises:
            NoSuchAccount: it is gone.
        """
        found = await self._find(users.c.id == user_id)
        if found is None:
            raise NoSuchAccount("This account is gone.")
        return found

    async def named(self, username: str) -> Account:
        """Return the account of this name.

        Raises:
            NoSuchAccount: there is none.
        """
        found = await self.credentials(username)
        if found is None:
            raise NoSuchAccount(f"There is no account named {one_line(username) or '(blank)'}.")
        return found[0]

    async def credentials(self, username: str) -> tuple[Account, str] | None:
        """Return the account of this name and the hash of its password, if there is one."""
        return await self._find(users.c.username_folded == folded(username))

    async def renew_hash(self, user_id: UUID, encoded: str, password: str) -> str:
        """Hash a password with today's parameters, if `encoded` is still its hash; what fails waits for another time.

        Args:
            user_id: whose it is.
            encoded: the hash that it was just verified by.
            password: the right one.

        Returns:
            The hash that is kept now.
        """
        try:
            renewed = await self._passwords.hash(password)

            async def write(transaction: Transaction) -> str:
                same = (users.c.id == user_id) & (users.c.password_hash == encoded)
                if (await transaction.execute(update(users).where(same).values(password_hash=renewed))).rowcount:
                    return renewed
                kept = select(users.c.password_hash).where(users.c.id == user_id)
                return (await transaction.execute(kept)).scalar_one_or_none() or encoded

            kept = await self._database.run_in_transaction(write)
            if kept in (renewed, encoded) or await self._passwords.verify(kept, password) is not Verdict.WRONG:
                return kept  # perhaps of another sign-in at the same time
            return encoded
        except (HashingBusy, DatabaseUnavailable) as error:
            logger.warning("the hash of a password keeps its old parameters for now: %s", error)
            return encoded

    async def _find(self, condition: ColumnElement[bool]) -> tuple[Account, str] | None:
        async def read(connection: AsyncConnection) -> tuple[Account, str] | None:
            row = (await connection.execute(select(users).where(condition))).first()
            return (account_of(row), row.password_hash) if row else None

        return await self._database.read(read)
