"""Composition root of the log consumer."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI

from tidings.composition import Parts
from tidings.events.topics import REGISTRY
from tidings.http.app import create_service
from tidings.http.bearer import TokenVerifier
from tidings.http.health import Check, Health
from tidings.kafka.activity import ActivityLane
from tidings.kafka.consumer import Consumer
from tidings.kafka.dead_letters import Ceiling, DeadLetters
from tidings.kafka.publisher import Publisher
from tidings.telemetry.setup import Telemetry
from tidings_log_consumer import routes
from tidings_log_consumer.ingest import STORE_SECONDS, Ingest
from tidings_log_consumer.positions import StoredPositions
from tidings_log_consumer.reading import Reading
from tidings_log_consumer.settings import LogSettings

SERVICE = "tidings-log-consumer"
PACKAGE = "tidings_log_consumer"
CONSUMER_DEADLINE = 3.0
DRAIN_DEADLINE = 8.0
"""Where a stop reads what is left: joining the group alone may take three seconds, and may have only begun."""


class State(TypedDict):
    """What a request may use."""

    activity: ActivityLane
    consumer: Consumer
    health: Health
    reading: Reading
    verifier: TokenVerifier


def create_app(settings: LogSettings) -> FastAPI:
    """Return the log consumer."""
    telemetry = Telemetry(SERVICE, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            parts = Parts(stack, telemetry, settings.http.management_port)
            patient = settings.database.model_copy(update={"deadline_seconds": STORE_SECONDS})
            group = settings.consumer.group
            store = parts.background_database(patient, PACKAGE)
            # A broker that forgets its records counts from zero again: positions of its former life would skip some.
            positions = None if settings.kafka.drain_at_stop else StoredPositions(store, group)
            ingest = Ingest(store, telemetry.tracer, telemetry.meter, positions)
            database = parts.database(settings.database)
            dead_letters = DeadLetters(Publisher(settings.kafka, telemetry.tracer, f"{SERVICE}-dead-letters"), group)
            ceiling = Ceiling(settings.consumer.max_poison_share, settings.consumer.min_poison)
            consumer = Consumer(settings.kafka, list(REGISTRY), group, ingest.store, dead_letters, ceiling, positions)
            parts.health.checks["kafka"] = Check(consumer.check, "TIDINGS_KAFKA_BOOTSTRAP_SERVERS", only_to_start=True)
            deadline = DRAIN_DEADLINE if settings.kafka.drain_at_stop else CONSUMER_DEADLINE
            parts.background("consumer", consumer.run, consumer.stop, deadline)
            yield State(
                consumer=consumer,
                reading=Reading(database, telemetry.tracer),
                verifier=await parts.verifier(settings.tokens, settings.redis),
                # Opened after the consumer, so closed before it: its last events are read too.
                activity=parts.activity(settings.kafka),
                health=parts.health,
            )

    return create_service(
        name="logs",
        summary="Every event of the platform, as a log that can be searched.",
        public_url=settings.http.public_url,
        trusted_hops=settings.http.trusted_hops,
        max_requests=settings.http.max_requests,
        address_key=settings.activity.address_key.get_secret_value(),
        telemetry=telemetry,
        lifespan=lifespan,
        routers=[routes.router],
    )
