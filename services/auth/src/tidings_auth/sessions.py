"""Sessions: signing in. A session is kept in Redis under its id; the access token names it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry.trace import Tracer
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tidings.database.transactions import Database, Transaction
from tidings.events import Event, EventData, SessionStarted, uuid7
from tidings.outbox.record import Outbox
from tidings.principal import Principal
from tidings.telemetry import names
from tidings_auth.accounts import Account, Accounts, next_sequence
from tidings_auth.passwords import Passwords

LIFETIME = timedelta(days=30)


class WrongCredentials(Exception):
    """No account has this username and password; which of the two is wrong is not told."""


class SessionsUnavailable(Exception):
    """Redis does not answer, so no session can be started."""


class Sessions:
    """Starts sessions.

    Args:
        accounts: finds who signs in.
        passwords: verifies.
        database: takes the event of each session.
        outbox: as above.
        redis: keeps the sessions.
        tracer: makes the business span.
    """

    def __init__(
        self,
        accounts: Accounts,
        passwords: Passwords,
        database: Database,
        outbox: Outbox,
        redis: Redis,
        tracer: Tracer,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._database = database
        self._outbox = outbox
        self._redis = redis
        self._tracer = tracer

    async def log_in(self, username: str, password: str) -> Principal:
        """Start a session, with its `session.started` event.

        Raises:
            WrongCredentials: unknown user or wrong password, in the same time.
            HashingBusy, SessionsUnavailable, DatabaseUnavailable: no session was started.
        """
        with self._tracer.start_as_current_span(names.SPAN_LOGIN) as span:
            found = await self._accounts.credentials(username)
            account, encoded = found or (None, None)
            if not await self._passwords.verify(encoded, password) or account is None:
                raise WrongCredentials("The username or the password is wrong.")
            span.set_attribute(names.USER_ID, str(account.id))
            return await self._start(account)

    async def _start(self, account: Account) -> Principal:
        principal = Principal(account.id, account.username, account.role, session_id=uuid7())
        await self._keep(principal)
        started = SessionStarted(user_id=account.id, username=account.username, session_id=principal.session_id)

        async def write(transaction: Transaction) -> Event[EventData]:
            sequence = await next_sequence(transaction, account.id)
            return await self._outbox.record(transaction, started, sequence)

        await self._database.run_in_transaction(write)
        return principal

    async def _keep(self, principal: Principal) -> None:
        key = f"session:{principal.session_id}"
        fields: dict[Any, Any] = {"user_id": str(principal.user_id), "created_at": datetime.now(UTC).isoformat()}
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hset(key, mapping=fields)
                pipeline.expire(key, LIFETIME)
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise SessionsUnavailable("Redis does not answer") from error
