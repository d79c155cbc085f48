"""Registration: an account and its events, both or neither."""

from datetime import UTC, datetime

from opentelemetry.trace import Tracer
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from tidings.database.transactions import Transaction
from tidings.events import UserRegistered, UserRoleChanged, uuid7
from tidings.idempotency.key import IdempotencyKey
from tidings.idempotency.once import Idempotency
from tidings.outbox.record import Outbox
from tidings.principal import Role
from tidings.telemetry import names
from tidings_auth.accounts import Account, Accounts, next_sequence
from tidings_auth.passwords import Passwords
from tidings_auth.tables import users
from tidings_auth.usernames import folded


class UsernameTaken(Exception):
    """Somebody has this username, or one that counts as the same."""


class Registration:
    """Makes accounts.

    Args:
        accounts: finds who has a name.
        idempotency: makes each account once for its key.
        outbox: takes the events of each registration.
        passwords: hashes.
        tracer: makes the business span.
    """

    def __init__(
        self, accounts: Accounts, idempotency: Idempotency, outbox: Outbox, passwords: Passwords, tracer: Tracer
    ) -> None:
        self._accounts = accounts
        self._idempotency = idempotency
        self._outbox = outbox
        self._passwords = passwords
        self._tracer = tracer

    async def register(
        self, username: str, password: str, key: IdempotencyKey | None = None, role: Role = "user"
    ) -> Account:
        """Make an account and its `user.registered` event, both or neither.

        Args:
            username: as `normalised` returns it.
            password: as the policy takes it.
            key: registering with the key of an earlier time makes nothing, and returns the account of that time.
            role: of the account; another one than `user` makes a `user.role_changed` event, too.

        Raises:
            UsernameTaken: nothing was made.
            HashingBusy, IdempotencyKeyInUse, IdempotencyKeyReused: nothing was made.
            DatabaseUnavailable: nothing is known to be made.
        """
        with self._tracer.start_as_current_span(names.SPAN_REGISTER) as span:
            if first := await self._idempotency.first_result(key, Account):
                return first
            if await self._accounts.credentials(username):  # looked up before it costs a hash
                if first := await self._idempotency.first_result(key, Account):
                    return first  # by another request with this key, a moment ago
                raise UsernameTaken("This username is taken; choose another.")
            account = Account(id=uuid7(), username=username, role=role, created_at=datetime.now(UTC))
            span.set_attribute(names.USER_ID, str(account.id))
            encoded = await self._passwords.hash(password)

            async def write(transaction: Transaction) -> Account:
                await self._insert(transaction, account, encoded)
                return account

            try:
                return await self._idempotency.run(key, write, Account)
            except IntegrityError:
                raise UsernameTaken("This username is taken; choose another.") from None

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
        await self._outbox.record(transaction, UserRegistered(user_id=account.id, username=account.username))
        if account.role != "user":
            promoted = UserRoleChanged(user_id=account.id, username=account.username, role=account.role)
            await self._outbox.record(transaction, promoted, await next_sequence(transaction, account.id))
