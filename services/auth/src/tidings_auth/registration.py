"""Registration: an account and its events, both or neither, under a name that no account has or had."""

from datetime import UTC, datetime

from opentelemetry.trace import Tracer
from sqlalchemy import exists, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.transactions import Database, Transaction
from tidings.events import UserRegistered, UserRoleChanged, uuid7
from tidings.idempotency.key import IdempotencyKey
from tidings.idempotency.once import Idempotency
from tidings.outbox.record import Outbox
from tidings.principal import Role
from tidings.telemetry import names
from tidings_auth.accounts import Account, next_sequence
from tidings_auth.name_throttle import NameThrottle
from tidings_auth.passwords import Passwords
from tidings_auth.tables import former_usernames, users
from tidings_auth.usernames import folded


class UsernameTaken(Exception):
    """An account has or had this username, or one that counts as the same."""

    def __init__(self) -> None:
        super().__init__("This username is taken; choose another.")


class Registration:
    """Makes accounts.

    Args:
        database: of the auth service.
        idempotency: makes each account once for its key.
        outbox: takes the events of each registration.
        passwords: hashes.
        tracer: makes the business span.
        throttle: counts taken names by client; `None` at the command line.
    """

    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        outbox: Outbox,
        passwords: Passwords,
        tracer: Tracer,
        throttle: NameThrottle | None = None,
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._outbox = outbox
        self._passwords = passwords
        self._tracer = tracer
        self._throttle = throttle

    async def register(
        self,
        username: str,
        password: str,
        key: IdempotencyKey | None = None,
        role: Role = "user",
        address: str = "",
    ) -> Account:
        """Make an account and its `user.registered` event, both or neither.

        Args:
            username: as `normalised` returns it.
            password: as the policy takes it.
            key: registering with the key of an earlier time makes nothing, and returns the account of that time.
            role: of the account; another one than `user` makes a `user.role_changed` event, too.
            address: the client's.

        Raises:
            TooManyTakenNames: the client must wait; nobody looked at the name.
            UsernameTaken: nothing was made.
            HashingBusy, IdempotencyKeyInUse, IdempotencyKeyReused: nothing was made.
            DatabaseUnavailable: nothing is known to be made.
        """
        with self._tracer.start_as_current_span(names.SPAN_REGISTER) as span:
            if first := await self._idempotency.first_result(key, Account):
                return first
            if self._throttle:
                await self._throttle.admit(address)
            try:
                account = await self._register(username, password, key, role)
            except UsernameTaken:
                if first := await self._idempotency.first_result(key, Account):
                    return first  # by another request with this key, a moment ago
                if self._throttle:
                    await self._throttle.count(address)
                raise
            span.set_attribute(names.USER_ID, str(account.id))
            return account

    async def _register(self, username: str, password: str, key: IdempotencyKey | None, role: Role) -> Account:
        if await self._is_taken(username):  # looked up before it costs a hash
            raise UsernameTaken
        account = Account(id=uuid7(), username=username, role=role, created_at=datetime.now(UTC))
        encoded = await self._passwords.hash(password)

        async def write(transaction: Transaction) -> Account:
            await self._insert(transaction, account, encoded)
            return account

        try:
            return await self._idempotency.run(key, write, Account)
        except IntegrityError:
            raise UsernameTaken from None

    async def _is_taken(self, username: str) -> bool:
        """Return whether an account has or had this name, in one query: the time does not tell which of the two."""
        name = folded(username)
        present = exists().where(users.c.username_folded == name)
        former = exists().where(former_usernames.c.username_folded == name)

        async def read(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(select(present | former))).scalar_one())

        return await self._database.read(read)

    async def _insert(self, transaction: Transaction, account: Account, encoded: str) -> None:
        row = {
            "id": account.id,
            "username": account.username,
            "username_folded": folded(account.username),
            "password_hash": encoded,
            "role": account.role,
            "created_at": account.created_at,
        }
        await transaction.execute(insert(users).values(row))
        # Only now, because the insert may have waited for a transaction that was deleting an account of this name.
        former = former_usernames.c.username_folded == row["username_folded"]
        if (await transaction.execute(select(former_usernames).where(former))).first():
            raise UsernameTaken
        await self._outbox.record(transaction, UserRegistered(user_id=account.id, username=account.username))
        if account.role != "user":
            promoted = UserRoleChanged(user_id=account.id, username=account.username, role=account.role)
            await self._outbox.record(transaction, promoted, await next_sequence(transaction, account.id))
