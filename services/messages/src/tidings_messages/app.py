"""Composition root of the messages service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI

from tidings.composition import Parts
from tidings.http.app import create_service
from tidings.http.bearer import TokenVerifier
from tidings.http.health import Health
from tidings.kafka.activity import ActivityLane
from tidings.outbox.record import Outbox
from tidings.telemetry.setup import Telemetry
from tidings_messages import routes
from tidings_messages.posting import MAX_LENGTH, Posting
from tidings_messages.reading import Reading
from tidings_messages.settings import MessagesSettings
from tidings_messages.tables import idempotency_keys
from tidings_messages.tables import outbox as outbox_rows

SERVICE = "tidings-messages"
PACKAGE = "tidings_messages"
MAX_BODY = 12 * MAX_LENGTH + 1024
"""The longest message when every character is written as two JSON escapes, as some clients do."""


class State(TypedDict):
    """What a request may use."""

    activity: ActivityLane
    health: Health
    posting: Posting
    reading: Reading
    verifier: TokenVerifier


def create_app(settings: MessagesSettings) -> FastAPI:
    """Return the messages service."""
    telemetry = Telemetry(SERVICE, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            parts = Parts(stack, telemetry, settings.http.management_port)
            database = parts.database(settings.database)
            background = parts.background_database(settings.database, PACKAGE)
            outbox = Outbox(outbox_rows, SERVICE)
            parts.relay(background, outbox, settings.kafka)
            idempotency = parts.idempotency(database, background, idempotency_keys, settings.activity)
            yield State(
                posting=Posting(idempotency, outbox, telemetry.tracer),
                reading=Reading(database, telemetry.tracer),
                verifier=await parts.verifier(settings.tokens, settings.redis),
                activity=parts.activity(settings.kafka),
                health=parts.health,
            )

    return create_service(
        name="messages",
        summary="Post to the board and read it.",
        public_url=settings.http.public_url,
        trusted_hops=settings.http.trusted_hops,
        max_requests=settings.http.max_requests,
        address_key=settings.activity.address_key.get_secret_value(),
        telemetry=telemetry,
        lifespan=lifespan,
        routers=[routes.router],
        max_body=MAX_BODY,
    )
