"""Evidence: reads databases, topics, store and group past the services, to see what really is there."""

import json
import time
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from sqlalchemy import Table, func, select
from sqlalchemy.exc import SQLAlchemyError

from faults.cases import UNREADABLE
from faults.checker import Evidence, Published, Row, Stored
from faults.system import GROUP, FaultySystem
from tidings.events.topics import AUTH, MESSAGES, REGISTRY
from tidings_auth.tables import outbox as auth_outbox
from tidings_auth.tables import users
from tidings_log_consumer.tables import entries
from tidings_messages.tables import messages
from tidings_messages.tables import outbox as messages_outbox

READ_SECONDS = 30.0
OUTBOXES = {"auth": auth_outbox, "messages": messages_outbox}


def gather(system: FaultySystem) -> Evidence:
    """Return all rows, records and entries of the facts that are checked.

    They are read until they stay the same: a request whose client has given up may still be at work.
    """
    before, now = None, _read(system)
    while now != before:
        before, now = now, _read(system)
    return now


def _read(system: FaultySystem) -> Evidence:
    end = time.monotonic() + READ_SECONDS
    while True:
        try:
            return Evidence(rows=_rows(system), topic=_topic(system), store=_store(system))
        except KafkaException:  # a partition may just be getting another leader
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def outbox_age(system: FaultySystem) -> float:
    """Return the seconds that the oldest unpublished fact waits; 0 when none does, infinite when nobody can know."""
    try:
        recorded = [_oldest(system, service, table) for service, table in OUTBOXES.items()]
    except SQLAlchemyError:
        return float("inf")
    now = datetime.now(UTC)
    return max(((now - one).total_seconds() for one in recorded if one), default=0.0)


def unsent(system: FaultySystem) -> int:
    """Return how many facts wait in outboxes."""
    total = 0
    for service, table in OUTBOXES.items():
        with system.database(service).connect() as connection:
            total += connection.execute(select(func.count()).select_from(table)).scalar_one()
    return total


def lag(system: FaultySystem) -> int:
    """Return how many records the log consumer has not committed yet.

    Raises:
        KafkaException: the brokers do not tell at the moment.
    """
    consumer = _consumer(system)
    try:
        partitions = [TopicPartition(topic.name, n) for topic in REGISTRY.values() for n in range(topic.partitions)]
        committed = {
            (one.topic, one.partition): max(one.offset, 0) for one in consumer.committed(partitions, timeout=5)
        }
        return sum(_end(consumer, one) - committed[one.topic, one.partition] for one in partitions)
    finally:
        consumer.close()


def waiting(system: FaultySystem) -> str | None:
    """Return `None` when everything has come to rest, else what has not."""
    try:
        outbox, behind = unsent(system), lag(system)
    except (SQLAlchemyError, KafkaException) as error:
        return f"no answer: {error!r}"
    return f"{outbox} in the outbox, lag {behind}" if outbox or behind else None


def _oldest(system: FaultySystem, service: str, table: Table) -> datetime | None:
    with system.database(service).connect() as connection:
        oldest: datetime | None = connection.execute(select(func.min(table.c.recorded_at))).scalar_one()
        return oldest


def _rows(system: FaultySystem) -> list[Row]:
    with system.database("messages").connect() as connection:
        posts = connection.execute(select(messages.c.id, messages.c.message)).all()
    with system.database("auth").connect() as connection:
        people = connection.execute(select(users.c.id, users.c.username, users.c.event_sequence)).all()
    return [Row("post", str(row.id), row.message) for row in posts] + [
        Row("register", str(row.id), row.username, row.event_sequence) for row in people
    ]


def _store(system: FaultySystem) -> list[Stored]:
    columns = (entries.c.event_id, entries.c.type, entries.c.data)
    with system.database("logs").connect() as connection:
        rows = connection.execute(select(*columns).where(entries.c.topic.in_([AUTH, MESSAGES]))).all()
    return [_stored(str(row.event_id), row.type, json.loads(row.data)) for row in rows]


def _stored(event_id: str, type_: str, data: dict[str, Any]) -> Stored:
    about = str(data.get("message_id") or data["user_id"])
    return Stored(event_id, type_, about, data.get("session_id", ""))


def _topic(system: FaultySystem) -> list[Published]:
    """Read both topics of facts from their beginning to their end."""
    consumer = _consumer(system)
    try:
        found: list[Published] = []
        for topic in (AUTH, MESSAGES):
            for number in range(REGISTRY[topic].partitions):
                found += _partition(consumer, TopicPartition(topic, number, 0))
        return found
    finally:
        consumer.close()


def _partition(consumer: Consumer, partition: TopicPartition) -> list[Published]:
    end = _end(consumer, partition)
    consumer.assign([partition])
    found: list[Published] = []
    last = -1
    while last < end - 1:
        batch = consumer.consume(min(500, end - 1 - last), timeout=READ_SECONDS)
        assert batch, f"{partition} ends at {end}, only {last + 1} could be read"
        for message in batch:
            if error := message.error():
                raise KafkaException(error)
            last = int(message.offset() or 0)
            found += _published(message)
    return found


def _published(message: Message) -> list[Published]:
    if message.value() == UNREADABLE:  # reading its headers would crash this client's C code
        return []
    pairs: list[tuple[str, bytes]] = list(message.headers() or [])  # type: ignore[arg-type]  # as brokers give them
    headers = {name: value.decode() for name, value in pairs if name.startswith("ce_")}
    return [
        Published(
            topic=str(message.topic()),
            partition=int(message.partition() or 0),
            offset=int(message.offset() or 0),
            key=(message.key() or b"").decode(),
            event_id=headers["ce_id"],
            type=headers["ce_type"].removeprefix("tidings.").rpartition(".")[0],
            sequence=int(headers.get("ce_sequence", 1)),
        )
    ]


def _end(consumer: Consumer, partition: TopicPartition) -> int:
    _, end = consumer.get_watermark_offsets(partition, timeout=10)
    return int(end)


def _consumer(system: FaultySystem) -> Consumer:
    options = {"bootstrap.servers": system.servers.bootstrap, "group.id": GROUP, "enable.auto.commit": False}
    return Consumer({**options, "auto.offset.reset": "earliest", "log_level": 0, "enable.partition.eof": False})
