"""The publisher: sends records in order with all acknowledgements, and is rebuilt when its producer is beyond repair.

An idempotent aiokafka producer retries without end while the broker is away, and some errors kill it for good. So every
batch has a deadline, and a producer that misses it is thrown away.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from tidings.events import Record
from tidings.kafka.diagnosis import explain
from tidings.kafka.ordered import HeldBack, Outcome, RawRecord, is_held_back, send_in_order
from tidings.kafka.settings import KafkaSettings
from tidings.telemetry import names
from tidings.telemetry.propagation import carrier_of

logger = logging.getLogger(__name__)

METADATA_MS = 30_000
"""Partitions that are added get events after this time; the client's own default is five minutes."""
BATCH_DEADLINE = 15.0
"""Seconds until a batch that the broker has not acknowledged is given up, and its producer with it."""
STOP_DEADLINE = 1.0


@dataclass(frozen=True)
class Outgoing:
    """A record to publish, and the trace context of what caused it."""

    record: Record
    context: Context = field(default_factory=Context)
    attributes: Mapping[str, str | int | float] = field(default_factory=dict)


class BrokerUnavailable(Exception):
    """The broker did not acknowledge in time; records may or may not have arrived."""


class Publisher:
    """Publishes batches of records.

    Args:
        settings: where the brokers are.
        tracer: makes the publish span of each record, of kind PRODUCER, in the trace that caused it.
        client_id: how the brokers name this producer in their logs.
    """

    def __init__(self, settings: KafkaSettings, tracer: Tracer, client_id: str) -> None:
        self._settings = settings
        self._tracer = tracer
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._singly = False
        self._stopping: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Connect, if that has not happened yet.

        Raises:
            BrokerUnavailable: no broker answers.
        """
        try:
            async with asyncio.timeout(BATCH_DEADLINE):
                await self._connected()
        except (TimeoutError, KafkaError, OSError) as error:
            raise BrokerUnavailable(await explain(self._settings, error)) from error

    async def publish(self, batch: Sequence[Outgoing], deadline: float = BATCH_DEADLINE) -> list[Outcome]:
        """Send `batch` in order and wait for every acknowledgement.

        Returns:
            For each record `None`, or why the broker refused it, or `HeldBack` when that is the fault of another one.

        Raises:
            BrokerUnavailable: none was acknowledged within `deadline` seconds.
        """
        spans = [self._start_span(outgoing) for outgoing in batch]
        raw = [
            _with_trace(outgoing.record, set_span_in_context(span, outgoing.context))
            for outgoing, span in zip(batch, spans, strict=True)
        ]
        try:
            outcomes = await self.publish_raw(raw, deadline)
        except BrokerUnavailable as error:
            for span in spans:
                _end(span, error)
            raise
        for span, outcome in zip(spans, outcomes, strict=True):
            _end(span, outcome)
        return outcomes

    async def publish_raw(self, batch: Sequence[RawRecord], deadline: float = BATCH_DEADLINE) -> list[Outcome]:
        """Send records as they are, without spans; returns and raises as `publish` does."""
        outcomes: list[Outcome] = [HeldBack() for _ in batch]
        try:
            async with asyncio.timeout(deadline):
                await send_in_order(await self._connected(), batch, outcomes, singly=self._singly)
        except Exception as error:  # of whatever type: aiokafka's own are not all Kafka's
            self._discard()
            self._singly = False
            if None in outcomes:
                return outcomes
            raise BrokerUnavailable(await explain(self._settings, error)) from error
        if any(outcomes):  # the broker would take this producer's next batch for one out of order
            self._discard()
        self._singly = any(map(is_held_back, outcomes))
        return outcomes

    async def close(self) -> None:
        """Stop the producer, within a deadline."""
        self._discard()
        if self._stopping:
            await asyncio.wait(self._stopping, timeout=STOP_DEADLINE)

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                **self._settings.client_options(),
                client_id=self._client_id,
                acks="all",
                enable_idempotence=True,
                metadata_max_age_ms=METADATA_MS,
            )
            try:
                await producer.start()
            except BaseException:
                self._stop_in_background(producer)
                raise
            self._producer = producer
        return self._producer

    def _start_span(self, outgoing: Outgoing) -> Span:
        record = outgoing.record
        headers = dict(record.headers)
        return self._tracer.start_span(
            f"publish {record.topic}",
            context=outgoing.context,
            kind=SpanKind.PRODUCER,
            attributes={
                names.MESSAGING_SYSTEM: "kafka",
                names.MESSAGING_OPERATION_TYPE: "send",
                names.MESSAGING_OPERATION_NAME: "publish",
                names.MESSAGING_DESTINATION: record.topic,
                names.MESSAGING_MESSAGE_ID: headers.get("ce_id", ""),
                names.EVENT_TYPE: headers.get("ce_type", ""),
                **outgoing.attributes,
            },
        )

    def _discard(self) -> None:
        if self._producer is not None:
            self._stop_in_background(self._producer)
            self._producer = None

    def _stop_in_background(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(_stop(producer))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)


async def _stop(producer: AIOKafkaProducer) -> None:
    """End a producer at once, and leave nothing of it behind: no connection, no task.

    Its own `stop` first sends what it still has, which may take for ever, and which nobody waits for any more; sent
    later, it would even come after newer records.
    """
    producer._closed = True
    sender = producer._sender.sender_task
    if sender is not None:
        sender.cancel()
    for connection in producer.client._conns.values():
        if connection._writer is not None:
            _cut(connection._writer.transport)
    with contextlib.suppress(TimeoutError, KafkaError, OSError):
        async with asyncio.timeout(STOP_DEADLINE):
            await producer.client.close()
    # What was being sent goes on to wait for news of the cluster, which a closed client never gets.
    news = asyncio.get_running_loop().create_future()
    news.set_result(False)
    waited_for, producer.client._md_update_fut = producer.client._md_update_fut, news
    if waited_for is not None and not waited_for.done():
        waited_for.set_result(False)
    if sender is not None:
        await asyncio.wait([sender], timeout=STOP_DEADLINE)


def _cut(transport: asyncio.WriteTransport) -> None:
    """Reset a connection: what the system still has to send on it is not delivered later."""
    if (own := transport.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _with_trace(record: Record, context: Context) -> RawRecord:
    """Return the record with the one `traceparent` that it carries: that of its publish span."""
    headers = (*record.headers, *carrier_of(context).items())
    encoded = tuple((name, text.encode()) for name, text in headers)
    return RawRecord(record.topic, record.key, record.value, encoded)


def _end(span: Span, error: Outcome) -> None:
    if error:
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
    span.end()
