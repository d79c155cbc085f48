"""Authentication: whose password this is, for whoever has not guessed too often."""

from collections.abc import Callable
from dataclasses import dataclass

from tidings.database.transactions import DatabaseUnavailable
from tidings.events import EventData, LoginFailed
from tidings_auth.accounts import Account, Accounts
from tidings_auth.passwords import HashingBusy, Passwords, Verdict
from tidings_auth.throttle import Throttle, TooManyAttempts
from tidings_auth.usernames import folded


class WrongCredentials(Exception):
    """No account has this username and password; which of the two is wrong is not told.

    Args:
        account: the one of the username, for the log.
    """

    def __init__(self, account: Account | None) -> None:
        super().__init__("The username or the password is wrong.")
        self.account = account


@dataclass(frozen=True, repr=False)
class Authenticated:
    """An account whose password was given, and the hash that it was verified by."""

    account: Account
    encoded: str


@dataclass(frozen=True)
class Client:
    """Where a call comes from."""

    address: str
    device: str
    """Its User-Agent, as one line that fits the column."""
    fingerprint: str | None
    """Keyed hash of its address, as events carry it."""


class Authentication:
    """Verifies passwords; whatever fails is a `login.failed` event, also where the password is only asked for again.

    Args:
        accounts: finds whose it may be.
        passwords: verifies and hashes.
        throttle: makes who guesses wait.
        emit: takes the events.
    """

    def __init__(
        self, accounts: Accounts, passwords: Passwords, throttle: Throttle, emit: Callable[[EventData], None]
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._throttle = throttle
        self._emit = emit

    async def authenticate(self, username: str, password: str, client: Client) -> Authenticated:
        """Return the account that has this username and password.

        Args:
            username: of an account, perhaps.
            password: to be verified as it is.
            client: who says so.

        Raises:
            TooManyAttempts: nobody looked at the password.
            WrongCredentials: unknown user or wrong password, in the same time.
            HashingBusy, RedisUnavailable, DatabaseUnavailable: it was not verified.
        """
        try:
            return await self._attempt(username, password, client.address)
        except WrongCredentials as error:
            self.failed(error.account, "wrong_credentials", client)
            raise
        except TooManyAttempts:
            self.failed(None, "throttled", client)
            await self._throttle.hold_back()
            raise
        except HashingBusy:
            await self._throttle.hold_back()
            raise

    def failed(self, account: Account | None, reason: str, client: Client) -> None:
        """Tell the log of an attempt that failed.

        Args:
            account: the one that it was for, if there is one.
            reason: as in `LoginFailed`.
            client: whose attempt it was.
        """
        user_id = account.id if account else None
        self._emit(LoginFailed(user_id=user_id, reason=reason, client=client.fingerprint))

    async def _attempt(self, username: str, password: str, address: str) -> Authenticated:
        self._passwords.look_for_a_place()
        attempt = await self._throttle.admit(folded(username), address)
        try:
            found = await self._accounts.credentials(username)
            account, encoded = found or (None, None)
            verdict = await self._passwords.verify(encoded, password)
        except (HashingBusy, DatabaseUnavailable):
            await attempt.refund()
            raise
        if verdict is Verdict.WRONG or account is None or encoded is None:
            raise WrongCredentials(account)
        await attempt.succeeded()
        if verdict is Verdict.OUTDATED:
            encoded = await self._accounts.renew_hash(account.id, encoded, password)
        return Authenticated(account, encoded)

    async def forget(self, account: Account) -> None:
        """Forget what is kept of the attempts to sign in to an account.

        Raises:
            RedisUnavailable: something is left until it ends by itself, within 30 days.
        """
        await self._throttle.forget(folded(account.username))
