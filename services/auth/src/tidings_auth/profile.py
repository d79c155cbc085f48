"""Profile: what people do to their own account. Both need the password again, for a token may be stolen."""

import contextlib

from opentelemetry.trace import Tracer
from sqlalchemy import delete, update

from tidings.database.moments import database_now
from tidings.database.statements import insert_new
from tidings.database.transactions import Database, Transaction
from tidings.events import UserDeleted, UserPasswordChanged
from tidings.idempotency.key import IdempotencyKey
from tidings.idempotency.once import Idempotency
from tidings.outbox.record import Outbox
from tidings.principal import Principal
from tidings.redis.errors import RedisUnavailable
from tidings.telemetry import names
from tidings_auth.accounts import Account, NoSuchAccount, has_hash, locked, next_sequence
from tidings_auth.administration import keep_an_admin
from tidings_auth.authentication import Authenticated, Authentication, Client, WrongCredentials
from tidings_auth.ending import Ending
from tidings_auth.passwords import Passwords
from tidings_auth.tables import former_usernames, sessions, users
from tidings_auth.throttle import TooManyAttempts
from tidings_auth.usernames import folded


class WrongPassword(Exception):
    """The caller's present password is another one."""


class Profile:
    """Changes and deletes the caller's own account.

    Args:
        database: of the auth service.
        idempotency: changes a password once for its key.
        outbox: takes the events.
        authentication: verifies the password.
        passwords: hashes the new one.
        ending: ends its sessions.
        tracer: makes the business spans.
    """

    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        outbox: Outbox,
        authentication: Authentication,
        passwords: Passwords,
        ending: Ending,
        tracer: Tracer,
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._outbox = outbox
        self._authentication = authentication
        self._passwords = passwords
        self._ending = ending
        self._tracer = tracer

    async def change_password(
        self, caller: Principal, current: str, new: str, client: Client, key: IdempotencyKey | None = None
    ) -> None:
        """Take another password, and end every session but the one that asks.

        Args:
            caller: whose, and the session that goes on.
            current: the present password.
            new: one that the policy allows.
            client: who asks.
            key: to ask again with the key of an earlier time changes nothing and is no error.

        Raises:
            TooManyAttempts: it was wrong too often.
            WrongPassword: `current` is not the present one.
            NoSuchAccount: it is gone.
            IdempotencyKeyInUse, IdempotencyKeyReused: nothing has changed.
            HashingBusy, RedisUnavailable, DatabaseUnavailable: nothing is known to have changed.
        """
        with self._tracer.start_as_current_span(names.SPAN_CHANGE_PASSWORD):
            if await self._idempotency.first_result(key, Account):
                return  # and `current` is the present one no more
            try:
                encoded = (await self._authenticated(caller, current, client)).encoded
            except (WrongPassword, TooManyAttempts):
                if await self._idempotency.first_result(key, Account):
                    return  # another of the same key was faster
                raise
            hashed = await self._passwords.hash(new)

            async def write(transaction: Transaction) -> Account:
                account = await locked(transaction, caller.user_id)
                mine = users.c.id == caller.user_id
                unchanged = mine & (users.c.password_hash == encoded)
                if not (
                    await transaction.execute(update(users).where(unchanged).values(password_hash=hashed))
                ).rowcount:
                    raise WrongPassword("The password was changed a moment ago.")
                changed = UserPasswordChanged(user_id=account.id, username=account.username)
                await self._outbox.record(transaction, changed, await next_sequence(transaction, account.id))
                others = sessions.c.id != caller.session_id
                await self._ending.end(transaction, account, "password_changed", others)
                return account

            await self._idempotency.run(key, write, Account)

    async def delete(self, caller: Principal, password: str, client: Client) -> None:
        """Delete the account and end its sessions. Its name stays taken: what it posted is still shown under it.

        Raises:
            TooManyAttempts: it was wrong too often.
            WrongPassword: `password` is not the present one.
            LastAdmin: nobody else could manage accounts.
            NoSuchAccount: it is gone.
            HashingBusy, RedisUnavailable, DatabaseUnavailable: nothing is known to have changed.
        """
        with self._tracer.start_as_current_span(names.SPAN_DELETE_ACCOUNT):
            found = await self._authenticated(caller, password, client)

            async def write(transaction: Transaction) -> None:
                account = await locked(transaction, caller.user_id)
                if not await has_hash(transaction, account.id, found.encoded):
                    raise WrongPassword("The password was changed a moment ago.")
                await keep_an_admin(transaction, account)
                await self._ending.end(transaction, account, "deleted")
                deleted = UserDeleted(user_id=account.id, username=account.username)
                await self._outbox.record(transaction, deleted, await next_sequence(transaction, account.id))
                former = insert_new(former_usernames, self._database.dialect)
                row = {"username_folded": folded(account.username), "deleted_at": database_now()}
                await transaction.execute(former.values(row))
                await transaction.execute(delete(users).where(users.c.id == account.id))
                # Those that were over already have nothing left to tell.
                over = (sessions.c.user_id == account.id) & (sessions.c.expires_at <= database_now())
                await transaction.execute(delete(sessions).where(over))

            await self._database.run_in_transaction(write)
            with contextlib.suppress(RedisUnavailable):  # then it is gone within 30 days
                await self._authentication.forget(found.account)

    async def _authenticated(self, caller: Principal, password: str, client: Client) -> Authenticated:
        try:
            found = await self._authentication.authenticate(caller.username, password, client)
        except WrongCredentials as error:
            raise (WrongPassword("The password is wrong.") if error.account else NoSuchAccount()) from None
        if found.account.id != caller.user_id:
            raise NoSuchAccount("This account is gone.")  # and somebody else has its name
        return found
