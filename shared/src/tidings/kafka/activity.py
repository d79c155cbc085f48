"""The activity lane: many cheap events, bounded in memory, never in the way of a request.

`emit` puts the encoded record into a bounded buffer and returns; one task drains it. When Kafka is away for longer than
the buffer lasts, the oldest events are dropped and counted, and an `activity.gap` event tells of them afterwards.
"""

import asyncio
import logging
from collections import Counter, deque
from itertools import islice

from opentelemetry.metrics import Meter

from tidings.events import ActivityGap, Event, EventData, encode
from tidings.kafka.loops import end
from tidings.kafka.publisher import BrokerUnavailable, Outgoing, Publisher
from tidings.telemetry.names import METRIC_EVENTS_DROPPED
from tidings.telemetry.propagation import current_carrier

logger = logging.getLogger(__name__)

MAX_EVENTS = 10_000
MAX_BYTES = 8 * 1024 * 1024
BATCH = 500
RETRY_SECONDS = 1.0


class ActivityLane:
    """Carries one service's activity to Kafka.

    Args:
        publisher: sends the batches; the lane's own, and closed with it.
        meter: counts drops as `tidings.events.dropped` by reason.
        source: the `ce_source` of the events.
        max_events: how many events may wait.
        max_bytes: how many bytes of keys and values may wait.
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
        self._waiting: deque[Outgoing] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._stopping = False
        self._untold = 0
        self._dropped_counter = meter.create_counter(METRIC_EVENTS_DROPPED, unit="{event}")
        self.counts: Counter[str] = Counter()
        """`accepted`, `delivered`, and `dropped.<reason>`, since start."""

    def emit(self, data: EventData) -> None:
        """Queue an event; never blocks, raises or awaits."""
        self.counts["accepted"] += 1
        try:
            outgoing = Outgoing(encode(Event(source=self._source, data=data)), current_carrier())
        except Exception:  # the caller's request matters more than its trail
            logger.exception("an activity event could not be encoded")
            self._count_drop("unencodable")
            return
        self._waiting.append(outgoing)
        self._bytes += _size(outgoing)
        while len(self._waiting) > self._max_events or self._bytes > self._max_bytes:
            self._bytes -= _size(self._waiting.popleft())
            self._count_drop("buffer_full")
        self._filled.set()

    async def run(self) -> None:
        """Drain the buffer until `stop`; runs as one task for the life of the service."""
        while not self._stopping or self._waiting:
            await self._filled.wait()
            self._filled.clear()
            while self._waiting:
                await self._publish_oldest()

    async def stop(self, task: "asyncio.Task[None]", deadline: float) -> None:
        """End `task`, which runs this lane, once the buffer is empty or after `deadline` seconds."""
        self._stopping = True
        self._filled.set()
        await end(task, deadline)
        for _ in self._waiting:
            self._count_drop("shutdown")
        self._waiting.clear()
        await self._publisher.close()

    async def _publish_oldest(self) -> None:
        batch = list(islice(self._waiting, BATCH))
        for outgoing in batch:
            self._waiting.popleft()
            self._bytes -= _size(outgoing)
        try:
            outcomes = await self._publisher.publish(batch)
        except BaseException as error:  # whatever it was, the batch is not known to have arrived
            self._put_back(batch)
            if not isinstance(error, BrokerUnavailable):
                raise
            logger.warning("activity waits: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
            return
        for outcome in outcomes:
            if outcome is None:
                self.counts["delivered"] += 1
            else:
                self._count_drop("refused")
        if None in outcomes:
            self._tell_of_gap()

    def _tell_of_gap(self) -> None:
        """Now that Kafka takes events again, say how many are missing."""
        dropped, self._untold = self._untold, 0
        if dropped:
            self.emit(ActivityGap(service=self._source, dropped=dropped))

    def _put_back(self, batch: list[Outgoing]) -> None:
        """Return what was not acknowledged to the front, as far as there is room."""
        for outgoing in reversed(batch):
            size = _size(outgoing)
            if len(self._waiting) >= self._max_events or self._bytes + size > self._max_bytes:
                self._count_drop("buffer_full")
                continue
            self._waiting.appendleft(outgoing)
            self._bytes += size

    def _count_drop(self, reason: str) -> None:
        self._untold += 1
        self.counts[f"dropped.{reason}"] += 1
        self._dropped_counter.add(1, {"reason": reason})


def _size(outgoing: Outgoing) -> int:
    return len(outgoing.record.value) + len(outgoing.record.key)
