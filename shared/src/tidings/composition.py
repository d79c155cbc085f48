"""Composition: opens the parts that every service has; a stack closes them in reverse, each within a deadline."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import httpx
from sqlalchemy import Table

from tidings.database.engine import create_engine
from tidings.database.moments import ClocksDiffer, require_same_clock
from tidings.database.schema import require_head
from tidings.database.settings import DatabaseSettings
from tidings.database.transactions import Database
from tidings.database.writes import require_writes
from tidings.http.bearer import TokenVerifier
from tidings.http.health import Check, Health
from tidings.http.remote_keys import RemoteKeys
from tidings.http.settings import ActivitySettings, TokenSettings
from tidings.idempotency.expiry import Expiry
from tidings.idempotency.once import Idempotency
from tidings.kafka.activity import ActivityLane
from tidings.kafka.publisher import Publisher
from tidings.kafka.settings import KafkaSettings
from tidings.known_secrets import clean
from tidings.outbox.record import Outbox
from tidings.outbox.relay import Relay
from tidings.redis.client import connect
from tidings.redis.revocations import Revocations
from tidings.redis.settings import RedisSettings
from tidings.telemetry.logs import current_service
from tidings.telemetry.setup import Telemetry

logger = logging.getLogger(__name__)

KEYS_DEADLINE = 1.0
LANE_DEADLINE = 1.5
RELAY_DEADLINE = 2.0
REVOCATIONS_DEADLINE = 1.0
REVOCATIONS_PATIENCE = 2.0
"""How long a start may wait for Redis; without it the service answers all the same, but is not ready."""
EXPIRY_DEADLINE = 0.5
BACKGROUND_CONNECTIONS = 5
"""Relay, lease, expiry, a background loop of the service's own, and health; opened when they are needed."""
TELEMETRY_DEADLINE = 1.0

Loop = Callable[[], Awaitable[None]]
Stop = Callable[["asyncio.Task[None]", float], Awaitable[None]]


class Parts:
    """Opens parts for one service, and has the service's health grow with them.

    Args:
        stack: closes them.
        telemetry: the service's own; closed last.
        management_port: where health says its reasons to everybody, if there is one.
    """

    def __init__(self, stack: AsyncExitStack, telemetry: Telemetry, management_port: int | None = None) -> None:
        self._stack = stack
        self.telemetry = telemetry
        self.health = Health(management_port=management_port)
        current_service.set(telemetry.service)
        stack.push_async_callback(telemetry.shutdown, TELEMETRY_DEADLINE)

    def database(self, settings: DatabaseSettings) -> Database:
        """Open the database for requests."""
        return self._database(settings)

    def background_database(self, settings: DatabaseSettings, package: str) -> Database:
        """Open the database for health and background loops; ready when it takes writes and has every migration of
        `package`.

        They have connections of their own: a service whose requests use up all of theirs is busy, not broken.
        """
        database = self._database(settings.model_copy(update={"pool_size": BACKGROUND_CONNECTIONS}))
        engine = database.engine

        async def check() -> None:
            await require_head(engine, package)
            await require_writes(engine)

        self.health.checks["database"] = Check(check, "TIDINGS_DATABASE_URL")
        allowed = timedelta(seconds=settings.max_clock_difference_seconds)
        self.health.checks["clock"] = Check(
            lambda: require_same_clock(engine, allowed),
            "TIDINGS_DATABASE_URL",
            {ClocksDiffer: "TIDINGS_DATABASE_MAX_CLOCK_DIFFERENCE_SECONDS"},
        )
        return database

    def _database(self, settings: DatabaseSettings) -> Database:
        engine = create_engine(settings, self.telemetry)
        self._stack.push_async_callback(engine.dispose)
        return Database(engine, settings.deadline_seconds)

    def activity(self, settings: KafkaSettings) -> ActivityLane:
        """Open the activity lane."""
        publisher = Publisher(settings, self.telemetry.tracer, f"{self.telemetry.service}-activity")
        lane = ActivityLane(publisher, self.telemetry.meter, self.telemetry.service)
        self.background("activity lane", lane.run, lane.stop, LANE_DEADLINE)
        return lane

    def relay(self, database: Database, outbox: Outbox, settings: KafkaSettings) -> None:
        """Start the relay of `outbox`, woken by its commits."""
        publisher = Publisher(settings, self.telemetry.tracer, f"{self.telemetry.service}-relay")
        relay = Relay(database, outbox.table, publisher, self.telemetry.meter)
        outbox.wakes(relay.wake)
        self.health.checks["kafka"] = Check(relay.check, "TIDINGS_KAFKA_BOOTSTRAP_SERVERS", only_to_start=True)
        self.health.checks["outbox"] = Check(relay.check_parked, None, only_shown=True)
        self.background("relay", relay.run, relay.stop, RELAY_DEADLINE)

    def idempotency(
        self, database: Database, background: Database, table: Table, settings: ActivitySettings
    ) -> Idempotency:
        """Open the memory of idempotency keys, and have it lose those that are expired."""
        expiry = Expiry(background, table)
        self.background("expiry of idempotency keys", expiry.run, expiry.stop, EXPIRY_DEADLINE)
        return Idempotency(database, table, settings.address_key.get_secret_value())

    async def revocations(self, settings: RedisSettings) -> Revocations:
        """Follow which sessions end; returns once those are known that ended before, or that Redis does not answer."""
        redis = connect(settings)
        self._stack.push_async_callback(redis.aclose)
        revocations = Revocations(redis)
        self.health.checks["revocations"] = Check(
            revocations.check, "TIDINGS_REDIS_URL", only_to_start=True, as_of=lambda: revocations.as_of
        )
        self.background("revocations", revocations.run, revocations.stop, REVOCATIONS_DEADLINE)
        await revocations.tried(REVOCATIONS_PATIENCE)
        return revocations

    async def verifier(self, settings: TokenSettings, redis: RedisSettings) -> TokenVerifier:
        """Open a verifier that fetches auth's keys, and knows which sessions have ended."""
        client = httpx.AsyncClient(trust_env=False)  # auth is a neighbour, never behind a proxy
        self._stack.push_async_callback(client.aclose)
        keys = RemoteKeys(settings.jwks_url, client)
        self.health.checks["keys"] = Check(keys.check, "TIDINGS_TOKENS_JWKS_URL")
        self.background("keys", keys.run, keys.stop, KEYS_DEADLINE)
        return TokenVerifier(keys, settings.issuer, settings.audience, await self.revocations(redis))

    def background(self, what: str, run: Loop, stop: Stop, deadline: float) -> None:
        """Run a loop as a task, and stop it within `deadline` seconds when the service stops."""
        task: asyncio.Task[None] = asyncio.create_task(self._supervised(what, run), name=what)
        self._stack.push_async_callback(stop, task, deadline)

    async def _supervised(self, what: str, run: Loop) -> None:
        """Run a loop; when it dies of an error that nobody expected, say so and have the process replaced."""
        try:
            await run()
        except Exception as error:
            logger.critical("the %s died", what, exc_info=True)
            self.health.died.append(clean(f"{what}: {error}"))
