"""Dead letters: records that can never be stored, parked with their cause beside their topic, for somebody to look at.

The original record travels on unchanged: key, value and headers. What is known of its end is in headers of our own.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import ConsumerRecord

from tidings.kafka.ordered import RawRecord, is_held_back, is_refusal
from tidings.kafka.publisher import BrokerUnavailable, Publisher

SUFFIX = ".dlq"
PREFIX = "tidings_dlq_"
WINDOW_SECONDS = 60.0


class TooMuchPoison(Exception):
    """So many records are no events that something is wrong with the producers or with this consumer."""


@dataclass(frozen=True)
class Poison:
    """A record that can never be stored."""

    topic: str
    partition: int
    offset: int
    cause: str
    """Why, without the record's content."""
    record: "ConsumerRecord[Any, Any] | None" = None
    """The record itself; `None` when the client could not even read it."""

    @classmethod
    def of(cls, record: "ConsumerRecord[Any, Any]", cause: str) -> "Poison":
        """Return the poison that `record` is."""
        return cls(record.topic, record.partition, record.offset, cause, record)


class DeadLetters:
    """Parks poison.

    Args:
        publisher: writes to the dead-letter topics.
        group: the consumer group that could not store them; several may share a dead-letter topic.
    """

    def __init__(self, publisher: Publisher, group: str) -> None:
        self._publisher = publisher
        self._group = group

    async def park(self, poisons: Sequence[Poison], attempts: int) -> None:
        """Write every poison to `<topic>.dlq`, and return when the broker has them all.

        Args:
            poisons: what can never be stored.
            attempts: how often their batch was handed to the store.

        Raises:
            BrokerUnavailable: not all are parked; none of them may be committed.
        """
        if not poisons:
            return
        letters = [_letter(poison, self._group, attempts) for poison in poisons]
        while letters:
            outcomes = await self._publisher.publish_raw(letters)
            for letter, outcome in zip(letters, outcomes, strict=True):
                can_shrink = is_refusal(outcome) and letter.value
                if outcome and not can_shrink and not is_held_back(outcome):
                    raise BrokerUnavailable(f"a dead letter was not accepted: {outcome!r}") from outcome
            # One that is too large itself goes without its value; Kafka keeps the original as long as its topic does.
            letters = [
                _without_value(letter) if is_refusal(outcome) else letter
                for letter, outcome in zip(letters, outcomes, strict=True)
                if outcome
            ]

    async def close(self) -> None:
        """Close the publisher."""
        await self._publisher.close()


class Ceiling:
    """Stops a consumer that would empty its topic into the dead letters.

    Args:
        share: of the records in a minute that may be poison, 0 to 1.
        at_least: so many poisons in a minute are always allowed, whatever their share.
    """

    def __init__(self, share: float, at_least: int) -> None:
        self._share = share
        self._at_least = at_least
        self._seen: deque[tuple[float, int, int]] = deque()

    def count(self, now: float, records: int, poisons: int) -> None:
        """Add a batch.

        Args:
            now: a monotonic clock, seconds.
            records: how many were read.
            poisons: how many of them were poison.

        Raises:
            TooMuchPoison: the last minute had more than its share.
        """
        self._seen.append((now, records, poisons))
        while self._seen[0][0] < now - WINDOW_SECONDS:
            self._seen.popleft()
        all_records = sum(seen[1] for seen in self._seen)
        all_poisons = sum(seen[2] for seen in self._seen)
        if all_poisons > self._at_least and all_poisons > self._share * all_records:
            raise TooMuchPoison(f"{all_poisons} of {all_records} records in the last minute are no events")


def _letter(poison: Poison, group: str, attempts: int) -> RawRecord:
    about = {
        "cause": poison.cause,
        "topic": poison.topic,
        "partition": str(poison.partition),
        "offset": str(poison.offset),
        "group": group,
        "attempts": str(attempts),
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
    record = poison.record
    headers: list[tuple[str, bytes | None]] = []
    if record:
        about["timestamp"] = str(record.timestamp)
        headers += [(name, value) for name, value in record.headers if not name.startswith(PREFIX)]
    headers += [(PREFIX + name, text.encode()) for name, text in about.items()]
    return RawRecord(
        topic=poison.topic + SUFFIX,
        key=record.key if record else None,
        value=record.value if record and (record.key is not None or record.value is not None) else b"",
        headers=tuple(headers),
    )


def _without_value(letter: RawRecord) -> RawRecord:
    """Return a letter that only says where its record is, and how large its value was."""
    size = str(len(letter.value or b"")).encode()
    about = [(name, value) for name, value in letter.headers if name.startswith(PREFIX)]
    return RawRecord(letter.topic, None, b"", (*about, (PREFIX + "value_bytes_left_out", size)))
