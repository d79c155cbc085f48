"""The activity lane: many cheap events, bounded in memory, never in the way of a request.

`emit` puts the event into a bounded buffer and returns; one task encodes and sends it. When Kafka is away for longer
than the buffer lasts, the oldest events are dropped and counted, and an `activity.gap` event tells of them afterwards.
"""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from tidings.events import ActivityGap, Event, EventData, encode
from tidings.kafka.loops import end
from tidings.kafka.ordered import is_held_back, is_refusal
from tidings.kafka.publisher import BrokerUnavailable, Outgoing, Publisher
from tidings.telemetry.names import METRIC_EVENTS_DROPPED
from tidings.telemetry.propagation import detached_context

logger = logging.getLogger(__name__)

MAX_EVENTS = 10_000
MAX_BYTES = 16 * 1024 * 1024
OVERHEAD = 1_800
"""Bytes that an event takes in memory beside its value: the objects around it."""
BATCH = 100
"""Encoding and sending so many takes a few milliseconds, in which no request is answered."""
GATHER_SECONDS = 0.05
"""How long the first event waits for others: a batch costs this service, Kafka and the consumer as much as an event."""
RETRY_SECONDS = 1.0

REASONS = ("buffer_full", "refused", "shutdown", "unencodable")
"""Why an event may be dropped."""


@dataclass(slots=True)
class Waiting:
    """An event in the buffer.

    It is encoded when its turn comes, and once: an attempt that is made again sends the same event id.
    """

    data: EventData
    time: datetime
    context: Context
    size: int
    outgoing: Outgoing | None = None

    def encoded(self, source: str) -> Outgoing:
        """Return the record to publish."""
        if self.outgoing is None:
            self.outgoing = Outgoing(encode(Event(source=source, time=self.time, data=self.data)), self.context)
        return self.outgoing


class ActivityLane:
    """Carries one service's activity to Kafka.

    Args:
        publisher: sends the batches; the lane's own, and closed with it.
        meter: counts drops as `tidings.events.dropped` by reason.
        source: the `ce_source` of the events.
        max_events: how many events may wait.
        max_bytes: how much memory they may take, about.
    """

    def __init__(
        self,
        publisher: Publisher,
        meter: Meter,
        source: str,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._publisher = publisher
        self._source = source
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._ending = asyncio.Event()
        self._untold = 0
        # Read when it is exported: a counter of OpenTelemetry's own would cost each drop as much as all the rest.
        meter.create_observable_counter(METRIC_EVENTS_DROPPED, [self._dropped], unit="{event}")
        self.counts: Counter[str] = Counter()
        """`accepted`, `delivered`, and `dropped.<reason>`, since start."""

    def emit(self, data: EventData) -> None:
        """Queue an event; never blocks, raises or awaits."""
        self.counts["accepted"] += 1
        try:
            waiting = Waiting(data, datetime.now(UTC), detached_context(), _size(data))
        except Exception as error:  # the caller's request matters more than its trail
            self._drop_unencodable(error)
            return
        self._waiting.append(waiting)
        self._bytes += waiting.size
        while len(self._waiting) > self._max_events or self._bytes > self._max_bytes:
            dropped = self._waiting.popleft()
            self._bytes -= dropped.size
            self._count_drop("buffer_full", dropped)
        self._filled.set()

    async def run(self) -> None:
        """Drain the buffer until `stop`; runs as one task for the life of the service."""
        while not self._ending.is_set() or self._waiting:
            await self._filled.wait()
            self._filled.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATHER_SECONDS):
                    await self._ending.wait()
            while self._waiting:
                await self._publish_oldest()

    async def stop(self, task: "asyncio.Task[None]", deadline: float) -> None:
        """End `task`, which runs this lane, once the buffer is empty or after `deadline` seconds."""
        self._ending.set()
        self._filled.set()
        await end(task, deadline)
        for waiting in self._waiting:
            self._count_drop("shutdown", waiting)
        self._waiting.clear()
        await self._publisher.close()

    async def _publish_oldest(self) -> None:
        batch = list(self._taken())
        try:
            outcomes = await self._publisher.publish([outgoing for _, outgoing in batch])
        except BaseException as error:  # whatever it was, the batch is not known to have arrived
            self._put_back([waiting for waiting, _ in batch])
            if not isinstance(error, BrokerUnavailable):
                raise
            logger.warning("activity waits: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
            return
        again: list[Waiting] = []
        for (waiting, _), outcome in zip(batch, outcomes, strict=True):
            if outcome is None:
                self.counts["delivered"] += 1
            elif is_refusal(outcome):
                self._count_drop("refused", waiting)
            else:
                again.append(waiting)
        self._put_back(again)
        if None in outcomes:
            self._tell_of_gap()
        if any(outcome and not is_refusal(outcome) and not is_held_back(outcome) for outcome in outcomes):
            await asyncio.sleep(RETRY_SECONDS)

    def _taken(self) -> Iterator[tuple[Waiting, Outgoing]]:
        """Take the oldest events out of the buffer, encoded."""
        for _ in range(min(BATCH, len(self._waiting))):
            waiting = self._waiting.popleft()
            self._bytes -= waiting.size
            try:
                yield waiting, waiting.encoded(self._source)
            except Exception as error:  # it would fail for ever, and the others wait
                self._drop_unencodable(error)

    def _tell_of_gap(self) -> None:
        """Now that Kafka takes events again, say how many are missing."""
        dropped, self._untold = self._untold, 0
        if dropped:
            self.emit(ActivityGap(service=self._source, dropped=dropped))

    def _put_back(self, batch: Sequence[Waiting]) -> None:
        """Return what was not acknowledged to the front, as far as there is room."""
        for waiting in reversed(batch):
            if len(self._waiting) >= self._max_events or self._bytes + waiting.size > self._max_bytes:
                self._count_drop("buffer_full", waiting)
                continue
            self._waiting.appendleft(waiting)
            self._bytes += waiting.size

    def _drop_unencodable(self, error: Exception) -> None:
        logger.error("an activity event could not be encoded", exc_info=error)
        self._count_drop("unencodable")

    def _count_drop(self, reason: str, dropped: Waiting | None = None) -> None:
        # A gap that is dropped itself leaves all that it would have told of untold.
        self._untold += dropped.data.dropped if dropped and isinstance(dropped.data, ActivityGap) else 1
        self.counts[f"dropped.{reason}"] += 1

    def _dropped(self, _: CallbackOptions) -> Iterator[Observation]:
        for reason in REASONS:
            yield Observation(self.counts[f"dropped.{reason}"], {"reason": reason})


def _size(data: EventData) -> int:
    """Return how much memory `data` takes while it waits; to write it out is the quickest way to know."""
    return OVERHEAD + len(data.model_dump_json().encode())
