"""The publisher: each key's records are in the topic in order, also when one of them is refused."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError
from opentelemetry.trace import NoOpTracerProvider

from support.servers import RealServers
from support.topic import records_of
from tidings.events import uuid7
from tidings.kafka import ordered
from tidings.kafka.ordered import Outcome, RawRecord, is_held_back
from tidings.kafka.publisher import BrokerUnavailable, Publisher
from tidings.kafka.settings import KafkaSettings
from tidings_local.backends import Backends

REAL = [pytest.param("real", marks=pytest.mark.real)]


@pytest.fixture
async def publisher(backends: Backends) -> AsyncIterator[Publisher]:
    settings = KafkaSettings(bootstrap_servers=backends.kafka)
    publisher = Publisher(settings, NoOpTracerProvider().get_tracer("test"), "test-publisher")
    yield publisher
    await publisher.close()


@pytest.fixture
def topic() -> str:
    return f"test.{uuid7().hex}"


def record(topic: str, key: str, number: int, size: int = 0) -> RawRecord:
    return RawRecord(topic, key.encode(), str(number).encode().ljust(size), (("h", b"1"),))


async def found(backends: Backends, topic: str, key: str) -> list[int]:
    """Return the numbers of a key's records, in the order of the topic."""
    records = await records_of(backends.kafka, topic, lambda one: one.key == key.encode())
    return [int(one.value) for one in records]


def told(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the outcomes as words."""
    return ["held back" if is_held_back(one) else type(one).__name__ if one else "sent" for one in outcomes]


async def test_many_records_of_few_keys_are_sent_at_once_and_in_order(
    publisher: Publisher, backends: Backends, topic: str
) -> None:
    records = [record(topic, f"key-{number % 3}", number, size=300) for number in range(900)]
    assert set(await publisher.publish_raw(records)) == {None}
    for key in range(3):
        assert await found(backends, topic, f"key-{key}") == list(range(key, 900, 3))


async def test_after_a_record_that_is_too_large_its_key_is_held_back_and_the_others_are_not(
    publisher: Publisher, backends: Backends, topic: str
) -> None:
    records = [record(topic, "a", 1), record(topic, "a", 2, size=2**21), record(topic, "a", 3), record(topic, "b", 4)]
    outcomes = await publisher.publish_raw(records)
    assert told(outcomes) == ["sent", "RecordTooLarge", "held back", "sent"]
    assert await found(backends, topic, "a") == [1]
    assert await found(backends, topic, "b") == [4]


async def test_a_key_has_the_partition_that_any_other_aiokafka_producer_gives_it(
    publisher: Publisher, backends: Backends, topic: str
) -> None:
    keys = [uuid7().hex for _ in range(20)]
    producer = AIOKafkaProducer(bootstrap_servers=backends.kafka)
    await producer.start()
    sent = [await producer.send_and_wait(topic, b"1", key=key.encode()) for key in keys]
    await producer.stop()
    await publisher.publish_raw([record(topic, key, 2) for key in keys])
    records = await records_of(backends.kafka, topic, lambda one: True)
    assert len({one.partition for one in records}) > 1
    partitions = {one.key.decode(): one.partition for one in records if one.value == b"2"}
    assert partitions == {key: metadata.partition for key, metadata in zip(keys, sent, strict=True)}


@pytest.mark.parametrize("backends", REAL, indirect=True)
async def test_of_a_batch_that_the_broker_refuses_only_the_record_at_fault_is_refused(
    publisher: Publisher, backends: Backends, topic: str
) -> None:
    """The limit is the topic's own, so only the broker knows it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=backends.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": "2000"})])
    await admin.close()
    waiting = [record(topic, "a", 1), record(topic, "b", 2), record(topic, "a", 3, size=3000), record(topic, "a", 4)]
    waiting += [record(topic, "b", 5), record(topic, "c", 6)]

    assert told(await publisher.publish_raw(waiting)) == ["held back"] * 6  # one batch, and nobody knows whose fault
    outcomes = await publisher.publish_raw(waiting)
    assert told(outcomes) == ["sent", "sent", "MessageSizeTooLargeError", "held back", "held back", "held back"]
    assert isinstance(outcomes[2], MessageSizeTooLargeError)
    assert set(await publisher.publish_raw(waiting[4:])) == {None}
    assert await found(backends, topic, "a") == [1]
    assert await found(backends, topic, "b") == [2, 5]
    assert await found(backends, topic, "c") == [6]


@pytest.mark.real
async def test_a_producer_that_is_given_up_leaves_nothing_behind(servers: RealServers, topic: str) -> None:
    """Otherwise a long outage would fill the memory, one batch every deadline."""
    settings = KafkaSettings(bootstrap_servers=servers.kafka.bootstrap)
    publisher = Publisher(settings, NoOpTracerProvider().get_tracer("test"), "test-publisher")
    assert set(await publisher.publish_raw([record(topic, "k", 0)])) == {None}
    before = asyncio.all_tasks()
    for _ in range(2):
        servers.kafka.pause()
        try:
            with pytest.raises(BrokerUnavailable):
                await publisher.publish_raw([record(topic, "k", number) for number in range(100)], deadline=1)
        finally:
            servers.kafka.resume()
        assert set(await publisher.publish_raw([record(topic, "k", 1)])) == {None}
    await publisher.close()
    left = asyncio.all_tasks() - before
    assert [task for task in left if "aiokafka" in str(task.get_stack())] == []


@pytest.mark.real
async def test_at_the_deadline_what_is_acknowledged_is_told_and_the_rest_goes_out_next(
    servers: RealServers, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a slow network and many single batches would be sent again and again for ever."""
    settings = KafkaSettings(bootstrap_servers=servers.kafka.bootstrap)
    publisher = Publisher(settings, NoOpTracerProvider().get_tracer("test"), "test-publisher")
    records = [record(topic, "k", number, size=15_000) for number in range(40)]  # each fills a batch
    assert set(await publisher.publish_raw(records[:1])) == {None}
    send = ordered._outcome

    async def slow(producer: AIOKafkaProducer, tp: TopicPartition, batch: ordered.Batch) -> Outcome:
        await asyncio.sleep(0.1)
        return await send(producer, tp, batch)

    monkeypatch.setattr(ordered, "_outcome", slow)
    outcomes = await publisher.publish_raw(records, deadline=1)
    assert told(outcomes) == sorted(told(outcomes), reverse=True)  # sent, then held back
    assert {"sent", "held back"} == set(told(outcomes))
    rest = [one for one, outcome in zip(records, outcomes, strict=True) if outcome]
    assert set(await publisher.publish_raw(rest)) == {None}
    await publisher.close()
