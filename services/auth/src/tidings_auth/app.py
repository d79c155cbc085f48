"""Composition root of the auth service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TypedDict

from fastapi import FastAPI

from tidings.composition import Parts
from tidings.http.app import create_service
from tidings.http.bearer import TokenVerifier
from tidings.http.health import Check, Health
from tidings.http.problems import Errors, Problem, Varying
from tidings.http.rate_limits import Policy, too_many
from tidings.kafka.activity import ActivityLane
from tidings.outbox.record import Outbox
from tidings.redis.client import connect
from tidings.telemetry.setup import Telemetry
from tidings_auth import account_routes, admin_routes, key_file, routes
from tidings_auth.accounts import Accounts, NoSuchAccount
from tidings_auth.administration import Administration, LastAdmin, NotAdmin
from tidings_auth.authentication import Authentication, WrongCredentials
from tidings_auth.cookies import CrossSite, RefreshCookie
from tidings_auth.ending import Announcer, Ending
from tidings_auth.key_file import SigningKeys
from tidings_auth.name_throttle import FREE, REFILL, NameThrottle, TooManyTakenNames
from tidings_auth.passwords import HashingBusy, Passwords
from tidings_auth.policy import length_limits
from tidings_auth.profile import Profile, WrongPassword
from tidings_auth.registration import Registration, UsernameTaken
from tidings_auth.rotation import RotatedTooOften, Rotation, TokenLost, TokenReused, UnknownToken
from tidings_auth.sessions import AccountDisabled, NoSuchSession, Sessions
from tidings_auth.settings import AuthSettings, PasswordSettings
from tidings_auth.tables import idempotency_keys
from tidings_auth.tables import outbox as outbox_rows
from tidings_auth.throttle import BUCKETS, Throttle, TooManyAttempts
from tidings_auth.tokens import TokenIssuer

SERVICE = "tidings-auth"
PACKAGE = "tidings_auth"
KEYS_DEADLINE = 1.0

BEARER = {"WWW-Authenticate": "Bearer"}
SESSION_OVER = Problem(401, "session-over", "The session has ended; sign in again.", BEARER)
ANNOUNCER_DEADLINE = 1.0

THROTTLE_POLICIES = [Policy(bucket.name, bucket.free, bucket.free * bucket.refill) for bucket in BUCKETS]


def _too_many_attempts(error: TooManyAttempts) -> Problem:
    return too_many("too-many-attempts", str(error), THROTTLE_POLICIES, error.bucket.name, error.retry_after)


def _too_many_taken_names(error: TooManyTakenNames) -> Problem:
    policy = Policy("taken-names", FREE, int((FREE * REFILL).total_seconds()))
    return too_many("too-many-taken-names", str(error), [policy], policy.name, error.retry_after)


ERRORS: Errors = {
    AccountDisabled: Problem(403, "account-disabled", "This account is disabled; ask an admin."),
    CrossSite: Problem(403, "cross-site", "This call is for pages of the same origin only."),
    HashingBusy: Problem(503, "busy", "Too many people sign in at this moment; try again.", {"Retry-After": "2"}),
    LastAdmin: Problem(409, "last-admin", "This is the only admin; make another one first."),
    NoSuchAccount: Problem(404, "no-such-account", "This account is gone."),
    NoSuchSession: Problem(404, "no-such-session", "You have no session of this id that is live."),
    NotAdmin: Problem(403, "not-admin", "Only an admin may do this."),
    RotatedTooOften: Problem(429, "too-many-refreshes", "Refresh less often.", {"Retry-After": "30"}),
    TokenLost: SESSION_OVER,
    TokenReused: SESSION_OVER,
    TooManyAttempts: Varying(_too_many_attempts, TooManyAttempts(2, BUCKETS[0])),
    TooManyTakenNames: Varying(_too_many_taken_names, TooManyTakenNames(60)),
    UnknownToken: SESSION_OVER,
    UsernameTaken: Problem(409, "username-taken", "This username is taken; choose another."),
    WrongCredentials: Problem(401, "wrong-credentials", "The username or the password is wrong.", BEARER),
    WrongPassword: Problem(403, "wrong-password", "The password is wrong."),
}


class State(TypedDict):
    """What a request may use."""

    accounts: Accounts
    activity: ActivityLane
    administration: Administration
    cookie: RefreshCookie
    health: Health
    issuer: TokenIssuer
    password_policy: PasswordSettings
    profile: Profile
    registration: Registration
    sessions: Sessions
    verifier: TokenVerifier


def create_app(settings: AuthSettings) -> FastAPI:
    """Return the auth service."""
    telemetry = Telemetry(SERVICE, settings)
    keys = SigningKeys(settings.signing)
    issuer = TokenIssuer(settings.signing, keys)
    address_key = settings.activity.address_key.get_secret_value()
    cookie = RefreshCookie(not settings.session.insecure_cookie, settings.http.public_url)
    session_over = replace(SESSION_OVER, cookies=cookie.cleared())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            parts = Parts(stack, telemetry, settings.http.management_port)
            database = parts.database(settings.database)
            background = parts.background_database(settings.database, PACKAGE)
            parts.health.checks["signing keys"] = Check(keys.check, key_file.VARIABLE, only_to_start=True)
            parts.background("signing keys", keys.run, keys.stop, KEYS_DEADLINE)
            redis = connect(settings.redis)
            stack.push_async_callback(redis.aclose)
            parts.health.checks["redis"] = Check(redis.ping, "TIDINGS_REDIS_URL", only_to_start=True)
            passwords = Passwords()
            stack.callback(passwords.close)
            outbox = Outbox(outbox_rows, SERVICE)
            parts.relay(background, outbox, settings.kafka)
            idempotency = parts.idempotency(database, background, idempotency_keys, settings.activity)
            activity = parts.activity(settings.kafka)
            revocations = await parts.revocations(settings.redis)
            rotation = Rotation(redis, settings.session.idle)
            announcer = Announcer(background, redis, rotation, revocations, issuer.longest)
            parts.background("announcer", announcer.run, announcer.stop, ANNOUNCER_DEADLINE)
            ending = Ending(outbox, announcer.wake)
            accounts = Accounts(database, passwords)
            authentication = Authentication(accounts, passwords, Throttle(redis, address_key), activity.emit)
            yield State(
                accounts=accounts,
                activity=activity,
                administration=Administration(database, outbox, ending, telemetry.tracer),
                cookie=cookie,
                health=parts.health,
                issuer=issuer,
                password_policy=settings.password,
                profile=Profile(database, idempotency, outbox, authentication, passwords, ending, telemetry.tracer),
                registration=Registration(
                    database, idempotency, outbox, passwords, telemetry.tracer, NameThrottle(redis, address_key)
                ),
                sessions=Sessions(
                    lifetime=settings.session.lifetime,
                    idle=settings.session.idle,
                    authentication=authentication,
                    database=database,
                    outbox=outbox,
                    rotation=rotation,
                    ending=ending,
                    announcer=announcer,
                    tracer=telemetry.tracer,
                ),
                verifier=TokenVerifier(issuer, settings.signing.issuer, settings.signing.audience, revocations),
            )

    return create_service(
        name="auth",
        summary="Register, sign in, and the keys that verify access tokens.",
        public_url=settings.http.public_url,
        trusted_hops=settings.http.trusted_hops,
        max_requests=settings.http.max_requests,
        address_key=address_key,
        telemetry=telemetry,
        lifespan=lifespan,
        routers=[account_routes.router, admin_routes.router],
        public_routers=[routes.router],
        errors={**ERRORS, **dict.fromkeys((TokenLost, TokenReused, UnknownToken), session_over)},
        components={
            "schemas": {"NewPassword": length_limits(settings.password)},
            "securitySchemes": {"refresh-cookie": {"name": cookie.name}},
        },
    )
