"""The consumer loop: reads batches, has them stored, and only then commits their offsets.

Where a store keeps the positions itself, reading goes on from these, and what is committed to Kafka is for tools that
show a group's lag. The handler makes storing idempotent (topic, source and event id are a unique key), so a batch that
is read again after a crash has no second effect.
"""

import asyncio
import contextlib
import logging
import math
import struct
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    UnsupportedCodecError,
)
from cramjam import DecompressionError

from tidings.kafka.dead_letters import Ceiling, DeadLetters, Poison
from tidings.kafka.diagnosis import explain
from tidings.kafka.loops import end
from tidings.kafka.publisher import BrokerUnavailable
from tidings.kafka.rebalance import HandOver
from tidings.kafka.settings import KafkaSettings

logger = logging.getLogger(__name__)

BATCH = 500
POLL_MS = 200
CAREFUL_POLL_SECONDS = 0.01
CALM_SECONDS = 2.0
COMMIT_DEADLINE = 5.0
STOP_DEADLINE = 3.0
BACKOFF = (0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts; the last one repeats."""

REMOVED = (
    "Kafka has removed %d records of %s[%d], offsets %d to %d: those that are not stored yet never will be; keep"
    " records for longer than this service can be down, and for longer than the age of a backup that is restored"
)

BEYOND = (
    "%s[%d] ends at offset %d, before the position %d: it lost records or was made anew, and is read from its first one"
)

UNREADABLE = (
    CorruptRecordException,
    UnsupportedCodecError,
    DecompressionError,
    ValueError,
    LookupError,
    EOFError,
    struct.error,
)
"""What aiokafka raises over the bytes of a record; any other error is none of the record's."""

T = TypeVar("T")

Batches = dict[TopicPartition, list[Any]]
Records = Sequence["ConsumerRecord[bytes | None, bytes | None]"]


class RetryLater(Exception):
    """The handler could not store the batch now; it is handed over again, in order, until it can."""


class LetGo(Exception):
    """The batch in hand is given up unstored: the service stops, or its partitions go to another member."""


class Positions(Protocol):
    """Where a group goes on reading, kept by its store."""

    async def all(self) -> Mapping[TopicPartition, int]:
        """Return the next offset of each partition that the group has read; `RetryLater` when it cannot now."""
        ...

    async def advance(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store the next offset of some partitions; `RetryLater` when it cannot now."""
        ...


class Consumer:
    """Reads topics as a member of a consumer group.

    Args:
        settings: where the brokers are.
        topics: what to read.
        group: the consumer group.
        handle: stores one batch and returns the records that can never be stored; raises `RetryLater` when it cannot
            right now. Any other exception ends the loop without committing.
        dead_letters: where those records are parked before anything is committed; closed with the consumer.
        ceiling: ends the loop when there are too many of them.
        positions: where reading begins, instead of at Kafka's group offsets. `handle` stores them with each batch that
            has no such record; after one that has, and once these are parked, the consumer does.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str],
        group: str,
        handle: Callable[[Records], Awaitable[Sequence[Poison]]],
        dead_letters: DeadLetters,
        ceiling: Ceiling,
        positions: Positions | None = None,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._group = group
        self._handle = handle
        self._dead_letters = dead_letters
        self._ceiling = ceiling
        self._positions = positions
        self._unreadable: list[Poison] = []
        self._uncommitted: dict[TopicPartition, int] = {}
        self._stopping = asyncio.Event()
        self._member: AIOKafkaConsumer[Any, Any] | None = None
        self._hand_over = HandOver()
        self._trouble = f"not connected to Kafka at {settings.bootstrap_servers} yet"
        self.drained = not settings.drain_at_stop
        """Whether a stop left nothing unread behind; always true where the broker keeps what was not read."""
        self._careful: frozenset[TopicPartition] | None = None
        self._calm_at = math.inf

    async def check(self) -> None:
        """Raise when the consumer is not a member of its group, or its brokers do not answer."""
        if self._member is None:
            raise ConnectionError(self._trouble)
        await self._member.end_offsets(self._member.assignment())

    async def run(self) -> None:
        """Read until `stop`; connects again whenever the connection is lost."""
        failures = 0
        while not self._stopping.is_set():
            consumer = self._new_consumer()
            try:
                consumer.subscribe(self._topics, listener=self._hand_over)
                await consumer.start()
                self._member, self._uncommitted, failures = consumer, {}, 0
                while not self._stopping.is_set():
                    await self._read_once(consumer)
                while self._settings.drain_at_stop and await self._has_unread(consumer):
                    await self._read_once(consumer)
                self.drained = True
            except (KafkaError, OSError) as error:
                self._trouble = await explain(self._settings, error)
                logger.warning("not connected: %s", self._trouble)
            finally:
                self._member = None
                self._hand_over.wanted.clear()  # a rebalance that never ended
                await _stop(consumer)
            await self._rest(failures)
            failures += 1

    async def stop(self, task: "asyncio.Task[None]", deadline: float) -> None:
        """End `task`, which runs this loop, after the batch in hand or after `deadline` seconds."""
        self._stopping.set()
        await end(task, deadline)
        await self._dead_letters.close()

    def _new_consumer(self) -> "AIOKafkaConsumer[bytes | None, bytes | None]":
        return AIOKafkaConsumer(
            **self._settings.client_options(),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=self._settings.fetch_max_wait_ms,
            metadata_max_age_ms=5_000,
            heartbeat_interval_ms=1_000,  # a member hears of a rebalance by its heartbeat
        )

    @staticmethod
    async def _has_unread(consumer: "AIOKafkaConsumer[Any, Any]") -> bool:
        """Return whether any record was not read yet; an empty poll does not tell, since a broker may be slow."""
        ends = await consumer.end_offsets(consumer.assignment())
        return not ends or any([await consumer.position(tp) < end for tp, end in ends.items()])

    async def _read_once(self, consumer: "AIOKafkaConsumer[Any, Any]") -> bool:
        """Read, store and commit one batch; `False` when there was none or it could not be stored."""
        if self._positions and self._hand_over.new:
            with contextlib.suppress(LetGo):
                await self._go_to_positions(consumer, self._positions)
            return False
        batches = await self._batches(consumer)
        if self._positions and self._hand_over.new:
            self._unreadable = []
            return False  # read after a rebalance, not from where the store wants it
        records = [record for batch in batches.values() for record in batch]
        unreadable, self._unreadable = self._unreadable, []
        if not (records or unreadable):
            await self._commit(consumer)  # no later batch may do it, and the group would seem to lag for ever
            return False
        with self._hand_over.batch_in_hand():
            offsets = {tp: batch[-1].offset + 1 for tp, batch in batches.items() if batch}
            offsets |= {TopicPartition(poison.topic, poison.partition): poison.offset + 1 for poison in unreadable}
            try:
                await self._settle(consumer, records, unreadable, offsets)
            except LetGo:
                self._go_back(consumer, batches, unreadable)
                return False
            self._uncommitted |= offsets
            await self._commit(consumer)
        return True

    async def _go_to_positions(self, consumer: "AIOKafkaConsumer[Any, Any]", positions: Positions) -> None:
        """Have new partitions read from where the store says.

        A partition that the store does not know begins at its first record: it may have been read after the backup from
        which the store was restored. Where the record of a position is gone, aiokafka goes to the first that is there.

        Raises:
            LetGo: the store does not answer, and the service stops or another rebalance begins.
        """
        new = self._hand_over.new
        stored, _ = await self._insist(consumer, positions.all)
        if self._hand_over.new is not new:
            return  # another rebalance came meanwhile
        for partition in new:
            consumer.seek(partition, stored.get(partition, 0))
        self._hand_over.new = frozenset()
        self._uncommitted = {tp: offset for tp, offset in stored.items() if tp in new}
        await self._report_odd(consumer, self._uncommitted)

    @staticmethod
    async def _report_odd(consumer: "AIOKafkaConsumer[Any, Any]", positions: Mapping[TopicPartition, int]) -> None:
        """Log which positions are of no record that Kafka has; aiokafka goes elsewhere from there without an error."""
        try:
            async with asyncio.timeout(COMMIT_DEADLINE):
                first = await consumer.beginning_offsets(list(positions))
                end = await consumer.end_offsets(list(positions))
        except (KafkaError, TimeoutError) as error:
            logger.warning("it is not known whether Kafka has removed records that were not read: %r", error)
            return
        for tp, offset in positions.items():
            if offset < first[tp]:
                logger.error(REMOVED, first[tp] - offset, tp.topic, tp.partition, offset, first[tp] - 1)
            elif offset > end[tp]:
                logger.error(BEYOND, tp.topic, tp.partition, end[tp], offset)

    @staticmethod
    def _go_back(consumer: "AIOKafkaConsumer[Any, Any]", batches: Batches, unreadable: Sequence[Poison]) -> None:
        """Return to before a batch that is let go: nothing that reads positions may take it for done."""
        for poison in unreadable:
            consumer.seek(TopicPartition(poison.topic, poison.partition), poison.offset)
        for tp, batch in batches.items():
            if batch:
                consumer.seek(tp, batch[0].offset)

    async def _batches(self, consumer: "AIOKafkaConsumer[Any, Any]") -> Batches:
        """Return the next records of each partition.

        aiokafka raises on a record that it cannot read after it has moved on in other partitions, does not say which
        partition it is, and raises for ever at the same offset. So everything goes back to where it was, and from then
        on is read record by record, until a while after the last bad one has been stepped over.
        """
        assignment = consumer.assignment()
        if self._careful == assignment and time.monotonic() < self._calm_at:
            return await self._one_by_one(consumer)
        self._careful = None
        rebalances = self._hand_over.rebalances
        before = {tp: await consumer.position(tp) for tp in assignment}
        try:
            return dict(await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH))
        except UNREADABLE:
            if self._hand_over.rebalances != rebalances:
                raise IllegalStateError("a rebalance came while reading: start again from what is committed") from None
        for tp, offset in before.items():
            consumer.seek(tp, offset)
        self._careful, self._calm_at = assignment, math.inf
        return {}

    async def _one_by_one(self, consumer: "AIOKafkaConsumer[Any, Any]") -> Batches:
        """Return what can be read of each partition without waiting; step over the first record that cannot."""
        batches: Batches = {}
        for tp in consumer.assignment():
            try:
                batches[tp] = []
                while len(batches[tp]) < BATCH and (found := await consumer.getmany(tp, max_records=1)):
                    batches[tp] += found[tp]
            except UNREADABLE as error:
                offset = await consumer.position(tp)
                cause = f"unreadable: {type(error).__name__}"  # its own words may repeat the record's bytes
                logger.error("%s[%d]@%d cannot be read: %s", tp.topic, tp.partition, offset, cause)
                self._unreadable = [Poison(tp.topic, tp.partition, offset, cause)]
                consumer.seek(tp, offset + 1)
                self._calm_at = time.monotonic() + CALM_SECONDS  # where there is one, there may be more
                break
        if not any(batches.values()):
            await asyncio.sleep(CAREFUL_POLL_SECONDS)
        return batches

    async def _settle(
        self,
        consumer: "AIOKafkaConsumer[Any, Any]",
        records: Records,
        unreadable: Sequence[Poison],
        offsets: Mapping[TopicPartition, int],
    ) -> None:
        """Store what can be stored and park the rest, again and again until it is done.

        Raises:
            LetGo: it is not done, and another member, or this one after its restart, reads the batch again.
            TooMuchPoison: there is more to park than the ceiling allows; nothing of this batch is parked or committed.
        """
        unstorable, attempts = await self._insist(consumer, lambda: self._handle(records))
        poisons = [*unstorable, *unreadable]
        self._ceiling.count(time.monotonic(), len(records) + len(unreadable), len(poisons))
        await self._insist(consumer, lambda: self._dead_letters.park(poisons, attempts))
        positions = self._positions
        if positions and poisons:
            await self._insist(consumer, lambda: positions.advance(offsets))

    async def _insist(self, consumer: "AIOKafkaConsumer[Any, Any]", step: Callable[[], Awaitable[T]]) -> tuple[T, int]:
        """Repeat `step` until what it needs is there; return what it gives, and how often it was tried.

        Its partitions are paused meanwhile, and an empty poll between the attempts keeps this a live member.
        """
        attempts = 0
        try:
            while True:
                attempts += 1
                try:
                    return await step(), attempts
                except (RetryLater, BrokerUnavailable) as error:
                    logger.warning("storing waits: %s", error)
                    consumer.pause(*consumer.assignment())
                    await self._rest(attempts - 1)
                    if self._hand_over.wanted.is_set() or (
                        self._stopping.is_set() and not self._settings.drain_at_stop
                    ):
                        raise LetGo from error
                    await consumer.getmany()
        finally:
            consumer.resume(*consumer.assignment())

    async def _commit(self, consumer: "AIOKafkaConsumer[Any, Any]") -> None:
        """Commit what is stored; a commit that fails costs a second reading, nothing else.

        One that was not answered is made again with the next. One that a rebalance made impossible is not: the
        partitions may be another member's.
        """
        if not self._uncommitted:
            return
        try:
            async with asyncio.timeout(COMMIT_DEADLINE):
                await consumer.commit(self._uncommitted)
        except TimeoutError:
            logger.warning("offsets not committed: Kafka did not answer within %g s", COMMIT_DEADLINE)
            return
        except (CommitFailedError, IllegalStateError) as error:
            logger.warning("offsets not committed: %r", error)
        self._uncommitted = {}

    async def _rest(self, failures: int) -> None:
        """Wait before the next attempt, unless the service stops or a rebalance begins meanwhile."""
        seconds = BACKOFF[min(failures, len(BACKOFF) - 1)]
        if self._stopping.is_set():
            await asyncio.sleep(BACKOFF[0])  # draining: the deadline of `stop` ends it
            return
        signals = [asyncio.ensure_future(event.wait()) for event in (self._stopping, self._hand_over.wanted)]
        await asyncio.wait(signals, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for signal in signals:
            signal.cancel()


async def _stop(consumer: "AIOKafkaConsumer[Any, Any]") -> None:
    """Leave the group, within a deadline; aiokafka may raise a stray cancellation here."""
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.wait([stopping], timeout=STOP_DEADLINE)
    stopping.cancel()
    with contextlib.suppress(asyncio.CancelledError, KafkaError, OSError):
        await stopping
