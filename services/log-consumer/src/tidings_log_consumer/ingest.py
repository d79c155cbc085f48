"""Ingest: a batch of records into the store, in one transaction, each event once."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Tracer, get_current_span, set_span_in_context
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from tidings.database.pieces import PieceSize
from tidings.database.statements import insert_new
from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings.events import Event, EventData, Undecodable, decode, in_binary_mode
from tidings.events.redaction import redact_json, redact_value
from tidings.kafka.consumer import Records, RetryLater
from tidings.kafka.dead_letters import Poison
from tidings.telemetry import names
from tidings.telemetry.propagation import carrier_from_headers, context_from
from tidings_log_consumer.entries import entry_of
from tidings_log_consumer.positions import StoredPositions
from tidings_log_consumer.tables import entries
from tidings_log_consumer.violations import Violations

logger = logging.getLogger(__name__)

MOST_ROWS = 500
STORE_SECONDS = 10.0
"""For one transaction: it is larger than what a request does, and nobody waits for its answer."""
LARGE = 64 * 1024
"""Bytes from which on looking through a value may take as long as many events."""


@dataclass(frozen=True)
class Received:
    """A record that is an event, without its secrets, and the trace context it came with."""

    record: "ConsumerRecord[Any, Any]"
    event: Event[EventData]
    context: Context
    violations: int
    """How many secrets it had."""

    def publisher(self) -> SpanContext | None:
        """Return the span that published the record, if it names one."""
        span = get_current_span(self.context).get_span_context()
        return span if span.is_valid else None


class Ingest:
    """Stores batches.

    Args:
        database: of the log consumer.
        tracer: makes the batch's span and each record's.
        meter: counts rejected records by topic, and redacted values by source.
        positions: where reading goes on; stored with each batch of which every record is an event.
    """

    def __init__(
        self, database: Database, tracer: Tracer, meter: Meter, positions: StoredPositions | None = None
    ) -> None:
        self._database = database
        self._positions = positions
        self._tracer = tracer
        self._insert = insert_new(entries, database.dialect)
        self._size = PieceSize(MOST_ROWS, STORE_SECONDS)
        self._rejected_counter = meter.create_counter(names.METRIC_EVENTS_REJECTED, unit="{event}")
        self._violations = Violations(meter)
        self.counts: Counter[str] = Counter()
        """`stored`, `rejected` and `redacted` (values), since start."""

    async def store(self, records: Records) -> Sequence[Poison]:
        """Store every event among `records`, and return the records that are none.

        Raises:
            RetryLater: the database does not answer; nothing is known to be stored.
        """
        decoded: list[Received | Poison] = []
        for record in records:
            decoded.append(self._decoded(record))
            if len(record.value or b"") > LARGE:
                await asyncio.sleep(0)  # heartbeats and requests have their turn
        received = [one for one in decoded if isinstance(one, Received)]
        poisons = [one for one in decoded if isinstance(one, Poison)]
        # With the position stored here, a crash before its poison is parked would lose that record.
        following = {} if poisons else {TopicPartition(one.topic, one.partition): one.offset + 1 for one in records}
        refused = await self._store(received, following) if received else []
        return [*poisons, *refused]

    async def _store(self, received: Sequence[Received], following: Mapping[TopicPartition, int]) -> list[Poison]:
        """Store a batch; when the database refuses it, halve it until what it refuses stands alone.

        `following` are the positions after the batch. The halves store none: the consumer does it when all is settled.
        """
        try:
            await self._store_all(received, following)
        except (DataError, IntegrityError) as error:
            if len(received) == 1:
                return [self._refused(received[0], error)]
            middle = len(received) // 2
            return [*await self._store(received[:middle], {}), *await self._store(received[middle:], {})]
        return []

    async def _store_all(self, received: Sequence[Received], following: Mapping[TopicPartition, int]) -> None:
        # The batch has a trace of its own; its SQL hangs there. Each record's spans are in the record's own trace.
        with self._tracer.start_as_current_span(names.SPAN_INGEST, context=Context()) as batch:
            batch.set_attribute(names.MESSAGING_BATCH_COUNT, len(received))
            spans = [span for one in received for span in self._start_spans(one, batch)]
            try:
                await self._write([entry_of(one.event, one.record, one.publisher()) for one in received], following)
            finally:
                for span in reversed(spans):
                    span.end()
        self.counts["stored"] += len(received)
        self.counts["redacted"] += self._violations.count((one.event.source, one.violations) for one in received)

    async def _write(self, rows: Sequence[dict[str, Any]], following: Mapping[TopicPartition, int]) -> None:
        """Write rows, all in one transaction unless the database was too slow for that; the positions with the last."""
        most, slowest = self._size.rows, 0.0
        while rows:
            piece, rows = rows[:most], rows[most:]
            started = time.monotonic()
            await self._write_piece(piece, {} if rows else following)
            slowest = max(slowest, time.monotonic() - started)
        self._size.succeeded(slowest)  # not after each piece: a larger one that fails would undo the whole batch

    async def _write_piece(self, rows: Sequence[dict[str, Any]], following: Mapping[TopicPartition, int]) -> None:
        async def write(transaction: Transaction) -> None:
            await transaction.execute(self._insert, rows)
            if self._positions and following:
                await self._positions.advance_in(transaction, following)

        try:
            await self._database.run_in_transaction(write, STORE_SECONDS)
        except DatabaseUnavailable as error:
            self._size.missed(len(rows))
            raise RetryLater(f"{len(rows)} entries were not stored: {error}") from error

    def _decoded(self, record: "ConsumerRecord[Any, Any]") -> Received | Poison:
        try:
            value, headers = in_binary_mode(record.value, record.headers)
            value, violations = _redacted(value)
            event = decode(value, headers)
            if event.data.topic != record.topic:
                raise Undecodable(f"events of this type belong into {event.data.topic}")
        except Undecodable as error:
            return self._rejected(record, f"is no event: {error}", str(error))
        source = redact_value(event.source)
        if source != event.source:
            violations += 1
            event = event.model_copy(update={"source": source})
        return Received(record, event, context_from(carrier_from_headers(headers)), violations)

    def _refused(self, received: Received, error: DBAPIError) -> Poison:
        cause = f"the database refuses it: {type(error.orig).__name__}"  # its own words may repeat the value
        return self._rejected(received.record, cause, cause)

    def _rejected(self, record: "ConsumerRecord[Any, Any]", said: str, cause: str) -> Poison:
        self.counts["rejected"] += 1
        self._rejected_counter.add(1, {names.MESSAGING_DESTINATION: record.topic})
        logger.warning("%s[%d]@%d %s", record.topic, record.partition, record.offset, said)
        return Poison.of(record, cause)

    def _start_spans(self, received: Received, batch: Span) -> Sequence[Span]:
        """Start the record's process span, and in it the span of storing it, unless nobody will see it."""
        record = received.record
        process = self._tracer.start_span(
            f"process {record.topic}",
            context=received.context,
            kind=SpanKind.CONSUMER,
            links=[Link(batch.get_span_context())],
            attributes={
                names.MESSAGING_SYSTEM: "kafka",
                names.MESSAGING_OPERATION_TYPE: "process",
                names.MESSAGING_OPERATION_NAME: "process",
                names.MESSAGING_DESTINATION: record.topic,
                names.MESSAGING_PARTITION: str(record.partition),
                names.MESSAGING_OFFSET: record.offset,
                names.MESSAGING_MESSAGE_ID: str(received.event.id),
                names.EVENT_TYPE: received.event.data.type(),
            },
        )
        if not process.is_recording():
            return [process]
        return process, self._tracer.start_span(names.SPAN_STORE, context=set_span_in_context(process))


def _redacted(value: bytes | None) -> tuple[bytes | None, int]:
    """Return a record's value without its secrets, and how many it had, also in fields that are not read.

    What is not JSON is returned as it is: `decode` refuses it, after the headers, which say more about what is wrong.
    """
    try:
        return redact_json(value) if value else (value, 0)
    except ValueError:
        return value, 0
