"""Sessions: signing in, going on, and signing out."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from opentelemetry.trace import Tracer
from sqlalchemy import ColumnElement, Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.moments import database_now
from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings.events import SessionReuseDetected, SessionStarted, uuid7
from tidings.outbox.record import Outbox
from tidings.principal import Principal
from tidings.redis.errors import RedisUnavailable
from tidings.telemetry import names
from tidings_auth.accounts import Account, NoSuchAccount, account_of, has_hash, locked, next_sequence
from tidings_auth.authentication import Authenticated, Authentication, Client, WrongCredentials
from tidings_auth.ending import Announcer, Ending
from tidings_auth.rotation import RefreshToken, Rotation, TokenLost, TokenReused, UnknownToken
from tidings_auth.tables import sessions, users

MOST = 50
"""Sessions of one account; the one that was used longest ago makes room."""


class AccountDisabled(Exception):
    """The password is right, and an admin has disabled the account."""


class NoSuchSession(Exception):
    """The caller has no live session with this id."""


@dataclass(frozen=True, repr=False)
class SignedIn:
    """What a session gives its client."""

    principal: Principal
    refresh_token: RefreshToken
    at: datetime
    """When this was found or made, by the database's clock."""
    expires: datetime
    """When the session ends by the same clock, however much it is used."""


class Sessions:
    """Starts, continues and ends sessions.

    Args:
        lifetime: of a session, however much it is used.
        idle: how long it lives without being used.
        authentication: tells who signs in.
        database: knows which sessions live.
        outbox: takes their events.
        rotation: keeps their refresh tokens.
        ending: ends them.
        announcer: tells every service.
        tracer: makes the business spans.
    """

    def __init__(
        self,
        lifetime: timedelta,
        idle: timedelta,
        authentication: Authentication,
        database: Database,
        outbox: Outbox,
        rotation: Rotation,
        ending: Ending,
        announcer: Announcer,
        tracer: Tracer,
    ) -> None:
        self._lifetime = lifetime
        self._idle = idle
        self._authentication = authentication
        self._database = database
        self._outbox = outbox
        self._rotation = rotation
        self._ending = ending
        self._announcer = announcer
        self._tracer = tracer

    async def log_in(self, username: str, password: str, client: Client) -> SignedIn:
        """Start a session, with its `session.started` event.

        Raises:
            TooManyAttempts: nobody looked at the password.
            WrongCredentials: unknown user or wrong password, in the same time.
            AccountDisabled: the right password of an account that may not sign in.
            HashingBusy, RedisUnavailable, DatabaseUnavailable: no session was started.
        """
        with self._tracer.start_as_current_span(names.SPAN_LOGIN) as span:
            found = await self._authentication.authenticate(username, password, client)
            span.set_attribute(names.USER_ID, str(found.account.id))
            if found.account.disabled:
                self._authentication.failed(found.account, "disabled", client)
                raise AccountDisabled("This account is disabled; ask an admin.")
            return await self._start(found, client)

    async def refresh(self, token: RefreshToken, client: Client) -> SignedIn:
        """Go on with a session: spend its refresh token for the next one.

        Raises:
            UnknownToken: the session has ended, or never was.
            TokenLost: Redis has no token of the session; the session has ended with this.
            TokenReused: the token was spent long ago; the session has ended with this.
            RotatedTooOften: the session has refreshed too often in the last seconds.
            RedisUnavailable, DatabaseUnavailable: present the same token again.
        """
        with self._tracer.start_as_current_span(names.SPAN_REFRESH) as span:
            found = await self._live(token.session_id)
            if found is None:
                raise UnknownToken("The session has ended; sign in again.")
            account, at, expires = found
            span.set_attribute(names.USER_ID, str(account.id))
            try:
                newest = await self._rotation.rotate(token)
            except TokenReused:
                await self._end_reused(account, token.session_id)
                raise
            except TokenLost:
                await self._end_lost(account, token)
                raise
            if not await self._seen(token.session_id, client):
                raise UnknownToken("The session has ended; sign in again.")
            return SignedIn(_principal(account, token.session_id), newest, at, expires)

    async def log_out(self, session_id: UUID) -> None:
        """End a session now, everywhere; to end it again is no error.

        Raises:
            RedisUnavailable, DatabaseUnavailable: it may go on elsewhere until its access token expires; try again.
        """
        await self._log_out(sessions.c.id == session_id)

    async def log_out_with(self, token: RefreshToken) -> None:
        """End the session of a refresh token. For errors see `log_out`; a token that is of no session ends none."""
        await self._log_out((sessions.c.id == token.session_id) & (sessions.c.token_family == token.family_hash))

    async def end(self, caller: Principal, session_id: UUID) -> None:
        """End one of the caller's sessions.

        Raises:
            NoSuchSession: the caller has none of this id.
            DatabaseUnavailable: not known to have ended.
        """
        if not await self._end(caller.user_id, "ended_by_user", sessions.c.id == session_id):
            raise NoSuchSession("You have no session of this id that is live.")

    async def end_others(self, caller: Principal) -> None:
        """End every session of the caller but the one that asks."""

        async def write(transaction: Transaction) -> None:
            account = await locked(transaction, caller.user_id)
            await self._ending.end(transaction, account, "ended_by_user", sessions.c.id != caller.session_id)

        await self._database.run_in_transaction(write)

    async def of(
        self, user_id: UUID, limit: int, before: UUID | None = None
    ) -> tuple[Sequence[tuple[Row[Any], bool | None]], UUID | None]:
        """Return up to `limit` live sessions of an account, newest first, and where the next page starts.

        With each comes whether it can be refreshed: Redis may have lost its token. `None` when Redis does not say.
        """
        statement = (
            select(sessions)
            .where(
                sessions.c.user_id == user_id,
                sessions.c.ended_at.is_(None),
                sessions.c.expires_at > database_now(),
                sessions.c.last_seen_at > database_now(-self._idle),
            )
            .order_by(sessions.c.id.desc())
            .limit(limit + 1)
        )
        if before:
            statement = statement.where(sessions.c.id < before)

        async def read(connection: AsyncConnection) -> Sequence[Row[Any]]:
            return (await connection.execute(statement)).all()

        rows = await self._database.read(read)
        page = rows[:limit]
        return await self._with_refreshable(page), page[-1].id if len(rows) > limit else None

    async def _with_refreshable(self, rows: Sequence[Row[Any]]) -> Sequence[tuple[Row[Any], bool | None]]:
        try:
            refreshable = await self._rotation.refreshable([row.id for row in rows])
        except RedisUnavailable:
            return [(row, None) for row in rows]
        return [(row, row.id in refreshable) for row in rows]

    async def _start(self, found: Authenticated, client: Client) -> SignedIn:
        account = found.account
        lifetime = self._lifetime * random.uniform(0.9, 1)  # so that not all end in the same hour
        token = RefreshToken.new(uuid7())
        await self._rotation.begin(token, lifetime)
        row = {
            "id": token.session_id,
            "user_id": account.id,
            "token_family": token.family_hash,
            "created_at": database_now(),
            "last_seen_at": database_now(),
            "expires_at": database_now(lifetime),
            "device": client.device,
            "address": client.address,
        }
        started = SessionStarted(user_id=account.id, username=account.username, session_id=token.session_id)

        async def write(transaction: Transaction) -> SignedIn:
            current = await locked(transaction, account.id)
            if not await has_hash(transaction, account.id, found.encoded):
                raise WrongCredentials(current)  # it was changed since it was verified
            if current.disabled:
                raise AccountDisabled("This account is disabled; ask an admin.")
            await self._make_room(transaction, current)
            inserted = insert(sessions).values(row).returning(sessions.c.created_at, sessions.c.expires_at)
            made = (await transaction.execute(inserted)).one()
            await self._outbox.record(transaction, started, await next_sequence(transaction, account.id))
            return SignedIn(_principal(current, token.session_id), token, made.created_at, made.expires_at)

        try:
            return await self._database.run_in_transaction(write)
        except NoSuchAccount:
            raise WrongCredentials(None) from None

    async def _make_room(self, transaction: Transaction, account: Account) -> None:
        live = (sessions.c.user_id == account.id) & sessions.c.ended_at.is_(None)
        longest_ago = select(sessions.c.id).where(live).order_by(sessions.c.last_seen_at.desc()).offset(MOST - 1)
        ids = (await transaction.execute(longest_ago.limit(MOST))).scalars().all()
        if ids:
            await self._ending.end(transaction, account, "too_many", sessions.c.id.in_(ids))

    async def _end(self, user_id: UUID, reason: str, which: ColumnElement[bool]) -> bool:
        """End one session of an account, and return whether it was live."""

        async def write(transaction: Transaction) -> bool:
            account = await locked(transaction, user_id)
            return bool(await self._ending.end(transaction, account, reason, which))

        try:
            return await self._database.run_in_transaction(write)
        except NoSuchAccount:
            return False  # it ended with its account

    async def _end_reused(self, account: Account, session_id: UUID) -> None:
        """End a session whose token came back; the event of the theft goes with it, once."""
        detected = SessionReuseDetected(user_id=account.id, username=account.username, session_id=session_id)

        async def write(transaction: Transaction) -> None:
            await locked(transaction, account.id)
            if await self._ending.end(transaction, account, "reuse", sessions.c.id == session_id):
                await self._outbox.record(transaction, detected, await next_sequence(transaction, account.id))

        try:
            await self._database.run_in_transaction(write)
        except NoSuchAccount:
            return  # it ended with its account

    async def _end_lost(self, account: Account, token: RefreshToken) -> None:
        """End a session whose token Redis lost: the client is answered that it is over, and nobody can refresh it.

        A made-up token, which is not of the session's family, ends nothing. Nor does the token of a session that was
        idle for too long: Redis did not lose it, it expired.
        """
        family = sessions.c.token_family == token.family_hash
        used = sessions.c.last_seen_at > database_now(-self._idle)
        await self._end(account.id, "token_lost", (sessions.c.id == token.session_id) & family & used)

    async def _live(self, session_id: UUID) -> tuple[Account, datetime, datetime] | None:
        """Return whose session this is, the present moment and when it expires, unless it is over."""
        live = sessions.c.ended_at.is_(None) & (sessions.c.expires_at > database_now()) & users.c.disabled_at.is_(None)
        columns = select(users, database_now().label("at"), sessions.c.expires_at)
        statement = columns.join(sessions, sessions.c.user_id == users.c.id)

        async def read(connection: AsyncConnection) -> tuple[Account, datetime, datetime] | None:
            row = (await connection.execute(statement.where(sessions.c.id == session_id, live))).first()
            return (account_of(row), row.at, row.expires_at) if row else None

        return await self._database.read(read)

    async def _log_out(self, which: ColumnElement[bool]) -> None:
        async def read(connection: AsyncConnection) -> Row[Any, Any] | None:
            statement = select(sessions.c.id, sessions.c.user_id).where(which)
            return (await connection.execute(statement)).first()

        with self._tracer.start_as_current_span(names.SPAN_LOGOUT):
            if found := await self._database.read(read):
                await self._end(found.user_id, "logout", sessions.c.id == found.id)
                await self._announcer.tell(found.id)

    async def _seen(self, session_id: UUID, client: Client) -> bool:
        """Note when and where the session was last used, and tell whether it is still live.

        A refresh does not fail for want of the note: the session was live a moment ago.
        """
        seen = {
            "last_seen_at": database_now(),
            "device": client.device,
            "address": client.address,
        }

        async def write(transaction: Transaction) -> bool:
            live = (sessions.c.id == session_id) & sessions.c.ended_at.is_(None)
            return bool((await transaction.execute(update(sessions).where(live).values(seen))).rowcount)

        try:
            return await self._database.run_in_transaction(write)
        except DatabaseUnavailable:
            return True


def _principal(account: Account, session_id: UUID) -> Principal:
    return Principal(account.id, account.username, account.role, session_id)
