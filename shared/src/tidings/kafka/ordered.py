"""Sending in order: no record goes out before those of its key that came before it are acknowledged.

A producer that is given records one by one passes over the one that the broker refuses, and sends the next of its key.
But a batch of records is taken whole or not at all. So each partition gets one batch after another, and none after one
that failed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder

MAX_RECORD_BYTES = 2**20
"""The largest record that is sent; a broker takes none that is larger, unless told otherwise."""

REFUSED = (MessageSizeTooLargeError, InvalidTopicError)
"""Errors that concern the record, not the connection."""

_partition = DefaultPartitioner()


@dataclass(frozen=True)
class RawRecord:
    """A record to the byte."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class RecordTooLarge(MessageSizeTooLargeError):  # type: ignore[misc]  # aiokafka has no types
    """The record has more than `MAX_RECORD_BYTES`, and is not sent to any broker."""


class HeldBack(Exception):
    """The record was not taken because of another one, before it or beside it; it may be sent again at once."""


Outcome = Exception | None
"""`None` when the record is acknowledged, else why not."""


def is_refusal(outcome: Outcome) -> bool:
    """Tell whether the broker will never take this record, however often it is asked."""
    return isinstance(outcome, REFUSED)


def is_broker_limit(outcome: Outcome) -> bool:
    """Return whether the broker refuses this record for its size, which another setting of the broker would allow."""
    return isinstance(outcome, MessageSizeTooLargeError) and not isinstance(outcome, RecordTooLarge)


def is_held_back(outcome: Outcome) -> bool:
    """Tell whether this record may be sent again at once."""
    return isinstance(outcome, HeldBack)


@dataclass
class Batch:
    """Records for one partition, by their places among all that are sent."""

    builder: BatchBuilder
    places: list[int] = field(default_factory=list)

    def took(self, place: int, record: RawRecord) -> bool:
        """Add a record; `False` when it does not fit any more, which a first one always does."""
        headers = list(record.headers)
        if not self.builder.append(timestamp=None, key=record.key, value=record.value, headers=headers):
            return False
        self.places.append(place)
        return True


async def send_in_order(
    producer: AIOKafkaProducer, records: Sequence[RawRecord], outcomes: list[Outcome], *, singly: bool = False
) -> None:
    """Send records, each key's in order, and wait until each is acknowledged, refused or held back.

    Args:
        producer: idempotent, and used by nobody else meanwhile.
        records: what to send.
        outcomes: one `HeldBack` for each record; becomes what is known of it, also when this is cancelled.
        singly: make each record a batch of its own, to find out which one the broker refuses.

    Raises:
        KafkaError: it is not known which topics there are; nothing was sent.
    """
    queues = await _queues(producer, records, outcomes, singly)
    await asyncio.gather(*(_send(producer, tp, queue, outcomes) for tp, queue in queues.items()))


async def _queues(
    producer: AIOKafkaProducer, records: Sequence[RawRecord], outcomes: list[Outcome], singly: bool
) -> Mapping[TopicPartition, list[Batch]]:
    """Put the records into batches; one that is too large is refused, and the later ones of its key stay held back."""
    partitions = {topic: await _partitions(producer, topic) for topic in {record.topic for record in records}}
    queues: dict[TopicPartition, list[Batch]] = {}
    blocked: set[bytes | None] = set()
    for place, record in enumerate(records):
        if record.key in blocked:
            continue
        if _size(record) > MAX_RECORD_BYTES:
            outcomes[place] = RecordTooLarge(f"the record has more than {MAX_RECORD_BYTES} bytes")
            blocked.add(record.key)
            continue
        everywhere = partitions[record.topic]
        if not everywhere:
            # No refusal: the record goes out as soon as somebody makes the topic.
            missing = f"there is no topic {record.topic}; python -m tidings topics apply makes it"
            outcomes[place] = UnknownTopicOrPartitionError(missing)
            continue
        tp = TopicPartition(record.topic, _partition(record.key, everywhere, everywhere))
        queue = queues.setdefault(tp, [])
        if singly or not queue or not queue[-1].took(place, record):
            queue.append(Batch(producer.create_batch()))
            queue[-1].took(place, record)
    return queues


async def _partitions(producer: AIOKafkaProducer, topic: str) -> list[int]:
    """Return the partitions of a topic; none when there is no such topic."""
    try:
        return sorted(await producer.partitions_for(topic))
    except UnknownTopicOrPartitionError:
        return []


async def _send(producer: AIOKafkaProducer, tp: TopicPartition, queue: list[Batch], outcomes: list[Outcome]) -> None:
    """Send one partition's batches, each when the one before is acknowledged; stop at the first that is not."""
    for batch in queue:
        outcome = await _outcome(producer, tp, batch)
        if is_refusal(outcome) and len(batch.places) > 1:
            return  # one of them is at fault, and the others are not
        for place in batch.places:
            outcomes[place] = outcome
        if outcome:
            return


async def _outcome(producer: AIOKafkaProducer, tp: TopicPartition, batch: Batch) -> Outcome:
    try:
        await (await producer.send_batch(batch.builder, tp.topic, partition=tp.partition))
    except KafkaError as error:
        failure: Exception = error
        return failure
    return None


def _size(record: RawRecord) -> int:
    size: int = DefaultRecordBatchBuilder.estimate_size_in_bytes(record.key, record.value, list(record.headers))
    return size
