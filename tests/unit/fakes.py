"""Stand-ins for what a unit test must not have: a broker, a key server, a server in front of an application."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.trace import TracerProvider
from starlette.types import ASGIApp, Receive, Scope, Send

from tidings.events import EventData
from tidings.kafka.publisher import BrokerUnavailable, Outgoing, Publisher

METER = NoOpMeter("tests")
TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("tests")


class FakePublisher(Publisher):
    """Keeps what it is given; each entry of `script` decides one call of `publish`: refused records, or an error."""

    def __init__(self, script: Sequence[Exception | Sequence[Exception | None]] = ()) -> None:
        self.delivered: list[Outgoing] = []
        self.batches: list[list[Outgoing]] = []
        self.closed = False
        self._script = list(script)

    async def publish(self, batch: Sequence[Outgoing], deadline: float = 0) -> list[Exception | None]:
        self.batches.append(list(batch))
        step = self._script.pop(0) if self._script else [None] * len(batch)
        if isinstance(step, Exception):
            raise step
        self.delivered += [outgoing for outgoing, outcome in zip(batch, step, strict=True) if outcome is None]
        return list(step)

    async def close(self) -> None:
        self.closed = True


def broker_down(times: int) -> list[Exception]:
    """A script: the broker does not answer for the first calls."""
    return [BrokerUnavailable("no broker") for _ in range(times)]


class EmittedActivity:
    """Takes the place of the activity lane in an application's state."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def emit(self, data: EventData) -> None:
        self.events.append(data)


class FixedKeys:
    """Verification keys that need no fetching."""

    def __init__(self, keys: Mapping[str, Any]) -> None:
        self.keys = keys

    async def find(self, kid: str) -> Any:
        return self.keys.get(kid)


class Clock:
    """Says what time it is; a test moves it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class EndedSessions(set[UUID]):
    """Sessions that have ended, as a test decides."""

    def is_ended(self, session_id: UUID) -> bool:
        return session_id in self


def client(app: ASGIApp, **state: Any) -> httpx.AsyncClient:
    """Return a client of `app` that finds `state` where a lifespan would have put it."""

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = dict(state)
        await app(scope, receive, send)

    transport = httpx.ASGITransport(with_state, raise_app_exceptions=False, client=("203.0.113.7", 4711))
    return httpx.AsyncClient(transport=transport, base_url="http://tidings.test")


@contextlib.contextmanager
def in_span(name: str = "test") -> Iterator[tuple[str, str]]:
    """Open a span and give its trace id and span id as text."""
    with TRACER.start_as_current_span(name) as span:
        context = span.get_span_context()
        yield f"{context.trace_id:032x}", f"{context.span_id:016x}"
