"""Sessions: signing in. A session is kept in Redis under its id; the access token names it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry.trace import Tracer
from redis.asyncio import Redis

from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings.events import Event, EventData, SessionStarted, uuid7
from tidings.outbox.record import Outbox
from tidings.principal import Principal
from tidings.redis.client import answering
from tidings.telemetry import names
from tidings_auth.accounts import Account, Accounts, next_sequence
from tidings_auth.passwords import HashingBusy, Passwords, Verdict
from tidings_auth.throttle import Throttle
from tidings_auth.usernames import folded

LIFETIME = timedelta(days=30)


class WrongCredentials(Exception):
    """No account has this username and password; which of the two is wrong is not told."""


class Sessions:
    """Starts sessions.

    Args:
        accounts: finds who signs in.
        passwords: verifies.
        throttle: makes who guesses wait.
        database: takes the event of each session.
        outbox: as above.
        redis: keeps the sessions.
        tracer: makes the business span.
    """

    def __init__(
        self,
        accounts: Accounts,
        passwords: Passwords,
        throttle: Throttle,
        database: Database,
        outbox: Outbox,
        redis: Redis,
        tracer: Tracer,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._throttle = throttle
        self._database = database
        self._outbox = outbox
        self._redis = redis
        self._tracer = tracer

    async def log_in(self, username: str, password: str, address: str) -> Principal:
        """Start a session, with its `session.started` event.

        Args:
            username: of an account, perhaps.
            password: to be verified as it is.
            address: the client's.

        Raises:
            TooManyAttempts: nobody looked at the password.
            WrongCredentials: unknown user or wrong password, in the same time.
            HashingBusy, RedisUnavailable, DatabaseUnavailable: no session was started.
        """
        with self._tracer.start_as_current_span(names.SPAN_LOGIN) as span:
            account = await self._authenticate(username, password, address)
            span.set_attribute(names.USER_ID, str(account.id))
            return await self._start(account)

    async def _authenticate(self, username: str, password: str, address: str) -> Account:
        attempt = await self._throttle.admit(folded(username), address)
        try:
            found = await self._accounts.credentials(username)
            account, encoded = found or (None, None)
            verdict = await self._passwords.verify(encoded, password)
        except (HashingBusy, DatabaseUnavailable):
            await attempt.refund()
            raise
        if verdict is Verdict.WRONG or account is None or encoded is None:
            raise WrongCredentials("The username or the password is wrong.")
        await attempt.succeeded()
        if verdict is Verdict.OUTDATED:
            await self._accounts.renew_hash(account.id, encoded, password)
        return account

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
        async with answering(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(key, mapping=fields)
            pipeline.expire(key, LIFETIME)
            await pipeline.execute()
