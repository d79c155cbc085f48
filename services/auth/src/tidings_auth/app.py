"""Composition root of the auth service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI

from tidings.composition import Parts
from tidings.http.app import create_service
from tidings.http.bearer import TokenVerifier
from tidings.http.health import Check, Health
from tidings.http.problems import Errors, Problem
from tidings.http.rate_limits import Policy, too_many
from tidings.kafka.activity import ActivityLane
from tidings.outbox.record import Outbox
from tidings.redis.client import connect
from tidings.telemetry.setup import Telemetry
from tidings_auth import routes
from tidings_auth.accounts import Accounts, NoSuchAccount, UsernameTaken
from tidings_auth.passwords import HashingBusy, Passwords
from tidings_auth.sessions import Sessions, WrongCredentials
from tidings_auth.settings import AuthSettings, PasswordSettings
from tidings_auth.tables import outbox as outbox_rows
from tidings_auth.throttle import BUCKETS, Throttle, TooManyAttempts
from tidings_auth.tokens import TokenIssuer

SERVICE = "tidings-auth"
PACKAGE = "tidings_auth"

THROTTLE_POLICIES = [Policy(bucket.name, bucket.free, bucket.free * bucket.refill) for bucket in BUCKETS]


def _too_many_attempts(error: TooManyAttempts) -> Problem:
    return too_many("too-many-attempts", str(error), THROTTLE_POLICIES, error.bucket.name, error.retry_after)


ERRORS: Errors = {
    HashingBusy: Problem(503, "busy", "Too many people sign in at this moment; try again.", {"Retry-After": "2"}),
    NoSuchAccount: Problem(404, "no-such-account", "This account is gone."),
    TooManyAttempts: _too_many_attempts,
    UsernameTaken: Problem(409, "username-taken", "This username is taken; choose another."),
    WrongCredentials: Problem(
        401, "wrong-credentials", "The username or the password is wrong.", {"WWW-Authenticate": "Bearer"}
    ),
}


class State(TypedDict):
    """What a request may use."""

    accounts: Accounts
    activity: ActivityLane
    health: Health
    issuer: TokenIssuer
    password_policy: PasswordSettings
    sessions: Sessions
    verifier: TokenVerifier


def create_app(settings: AuthSettings) -> FastAPI:
    """Return the auth service."""
    telemetry = Telemetry(SERVICE, settings.otlp_endpoint)
    issuer = TokenIssuer(settings.signing)
    address_key = settings.activity.address_key.get_secret_value()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            parts = Parts(stack, telemetry)
            database = parts.database(settings.database, PACKAGE)
            redis = connect(settings.redis)
            stack.push_async_callback(redis.aclose)
            parts.health.checks["redis"] = Check(redis.ping, "TIDINGS_REDIS_URL", only_to_start=True)
            passwords = Passwords()
            stack.callback(passwords.close)
            outbox = Outbox(outbox_rows, SERVICE)
            parts.relay(database, outbox, settings.kafka)
            accounts = Accounts(database, outbox, passwords, telemetry.tracer)
            throttle = Throttle(redis, address_key)
            yield State(
                accounts=accounts,
                sessions=Sessions(accounts, passwords, throttle, database, outbox, redis, telemetry.tracer),
                issuer=issuer,
                password_policy=settings.password,
                verifier=TokenVerifier(issuer, settings.signing.issuer, settings.signing.audience),
                activity=parts.activity(settings.kafka),
                health=parts.health,
            )

    return create_service(
        name="auth",
        summary="Register, sign in, and the keys that verify access tokens.",
        public_url=settings.http.public_url,
        address_key=address_key,
        telemetry=telemetry,
        lifespan=lifespan,
        routers=[routes.router],
        public_routers=[routes.public],
        errors=ERRORS,
    )
