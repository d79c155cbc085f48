"""The consumer loop: nothing is committed before it is stored, and nothing is lost when storing fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import confluent_kafka
import confluent_kafka.admin
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from opentelemetry.trace import NoOpTracerProvider

from support import kcat
from support.servers import require
from support.topic import records_of
from tidings.events import uuid7
from tidings.kafka.consumer import POLL_MS, Consumer, Positions, Records, RetryLater
from tidings.kafka.dead_letters import Ceiling, DeadLetters, Poison, TooMuchPoison
from tidings.kafka.publisher import Publisher
from tidings.kafka.settings import KafkaSettings
from tidings_local.backends import Backends


@pytest.fixture
def settings(backends: Backends) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=backends.kafka, fetch_max_wait_ms=10)


@pytest.fixture
async def topic(settings: KafkaSettings) -> AsyncIterator[str]:
    """A topic of its own with 100 records, all of one key."""
    name = f"test.{uuid7().hex}"
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers, acks="all", enable_idempotence=True)
    await producer.start()
    for number in range(100):
        await producer.send(name, str(number).encode(), key=b"k")
    await producer.flush()
    yield name
    await producer.stop()


class Store:
    """Keeps what it is given; fails as often as it is told to."""

    def __init__(self, failures: list[Exception] | None = None) -> None:
        self.values: list[bytes | None] = []
        self._failures = failures or []

    async def handle(self, records: Records) -> list[Poison]:
        """Store a batch; what says `poison` cannot be."""
        if self._failures:
            raise self._failures.pop(0)
        self.values += [record.value for record in records if record.value != b"poison"]
        return [Poison.of(record, "says so") for record in records if record.value == b"poison"]

    async def until(self, count: int) -> None:
        """Wait until so many are stored."""
        for _ in range(300):
            if len(self.values) >= count:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{len(self.values)} of {count} were stored")


EXPECTED = [str(number).encode() for number in range(100)]


async def connected(consumer: Consumer) -> None:
    """Wait until the consumer is a member of its group."""
    for _ in range(200):
        with contextlib.suppress(ConnectionError):
            await consumer.check()
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the consumer did not connect")


def consumer_of(
    settings: KafkaSettings,
    topic: str,
    group: str,
    handle: Callable[[Records], Awaitable[list[Poison]]],
    ceiling: Ceiling | None = None,
    letters_to: KafkaSettings | None = None,
    positions: Positions | None = None,
) -> Consumer:
    publisher = Publisher(letters_to or settings, NoOpTracerProvider().get_tracer("test"), "test-dead-letters")
    letters = DeadLetters(publisher, group)
    return Consumer(settings, [topic], group, handle, letters, ceiling or Ceiling(0.5, 1000), positions)


async def consume(settings: KafkaSettings, topic: str, group: str, store: Store, count: int) -> None:
    consumer = consumer_of(settings, topic, group, store.handle)
    running = asyncio.create_task(consumer.run())
    await connected(consumer)
    await store.until(count)
    await asyncio.sleep(0.3)  # the commit of the last batch
    await consumer.stop(running, 3)


async def committed(settings: KafkaSettings, topic: str, group: str) -> int:
    """Return how many records of the topic the group need not read again, without joining it."""
    looking = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap_servers, group_id=group, enable_auto_commit=False)
    await looking.start()
    partitions = [TopicPartition(topic, number) for number in range(4)]
    looking.assign(partitions)
    offsets = [await looking.committed(partition) or 0 for partition in partitions]
    await looking.stop()
    return sum(offsets)


async def test_everything_is_stored_in_order_and_need_not_be_read_again(settings: KafkaSettings, topic: str) -> None:
    store = Store()
    await consume(settings, topic, "in-order", store, 100)
    assert store.values == EXPECTED
    assert await committed(settings, topic, "in-order") == 100


async def test_a_store_that_is_away_is_asked_again_with_the_same_batch(settings: KafkaSettings, topic: str) -> None:
    store = Store([RetryLater("the database is away")] * 3)
    await consume(settings, topic, "retried", store, 100)
    assert store.values == EXPECTED


async def test_an_unknown_error_ends_the_loop_without_committing(settings: KafkaSettings, topic: str) -> None:
    broken = consumer_of(settings, topic, "crashed", Store([RuntimeError("a bug")]).handle)
    with pytest.raises(RuntimeError, match="a bug"):
        await asyncio.wait_for(broken.run(), 20)
    with pytest.raises(ConnectionError):
        await broken.check()
    assert await committed(settings, topic, "crashed") == 0


async def test_stopping_while_the_store_is_away_commits_nothing(settings: KafkaSettings, topic: str) -> None:
    asked = asyncio.Event()

    async def away(_: Records) -> list[Poison]:
        asked.set()
        raise RetryLater("away")

    consumer = consumer_of(settings, topic, "stopped", away)
    running = asyncio.create_task(consumer.run())
    await asyncio.wait_for(asked.wait(), 20)
    await consumer.stop(running, 3)
    assert await committed(settings, topic, "stopped") == 0


async def test_records_that_cannot_be_read_are_stepped_over_and_the_others_keep_their_order(
    settings: KafkaSettings, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A header key that is not UTF-8 makes the client raise for ever at its offset; here in two partitions at once."""
    require("kcat")
    more = [str(number).encode() for number in range(100, 104)]
    for value in more:
        await asyncio.to_thread(
            kcat.produce, settings.bootstrap_servers, topic, b"bad", {}, key="k", header_key=b"\xff\xfe"
        )
        await asyncio.to_thread(kcat.produce, settings.bootstrap_servers, topic, value, {}, key="k")
        for key in ("other", "another", "one more"):
            await asyncio.to_thread(
                kcat.produce, settings.bootstrap_servers, topic, b"bad", {}, key=key, header_key=b"\xff\xfe"
            )
    store = Store()
    await consume(settings, topic, "unreadable", store, 104)
    # kcat puts the same key into another partition than aiokafka does: order holds within each.
    assert [value for value in store.values if value in EXPECTED] == EXPECTED
    assert [value for value in store.values if value not in EXPECTED] == more
    assert sum("cannot be read: " in message for message in caplog.messages) == 16
    causes = [dict(letter.headers)["tidings_dlq_cause"] for letter in await letters(settings, topic, 16)]
    assert causes == [b"unreadable: UnicodeDecodeError"] * 16


async def letters(settings: KafkaSettings, topic: str, count: int) -> list[Any]:
    """Return the dead letters of a topic once there are `count`."""
    return await records_of(settings.bootstrap_servers, f"{topic}.dlq", lambda _: True, count)


async def send(settings: KafkaSettings, topic: str, *values: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers, acks="all")
    await producer.start()
    for value in values:
        await producer.send_and_wait(topic, value, key=b"k", headers=[("ce_id", b"one"), ("odd", b"\xff")])
    await producer.stop()


async def test_poison_is_parked_untouched_with_its_cause_and_coordinates(settings: KafkaSettings, topic: str) -> None:
    await send(settings, topic, b"poison", b"good", b"poison")
    store = Store()
    await consume(settings, topic, "poisoned", store, 101)
    assert store.values == [*EXPECTED, b"good"]
    found = await letters(settings, topic, 2)
    assert [letter.value for letter in found] == [b"poison"] * 2
    assert [letter.key for letter in found] == [b"k"] * 2
    headers = dict(found[0].headers)
    assert (headers["ce_id"], headers["odd"]) == (b"one", b"\xff")
    assert headers["tidings_dlq_cause"] == b"says so"
    assert headers["tidings_dlq_topic"] == topic.encode()
    assert (headers["tidings_dlq_group"], headers["tidings_dlq_attempts"]) == (b"poisoned", b"1")
    assert [dict(letter.headers)["tidings_dlq_offset"] for letter in found] == [b"100", b"102"]
    assert await committed(settings, topic, "poisoned") == 103


async def test_a_dead_letter_says_how_often_its_batch_was_tried(settings: KafkaSettings, topic: str) -> None:
    await send(settings, topic, b"poison")
    tries: list[int] = []

    async def away_twice(records: Records) -> list[Poison]:
        poisons = [Poison.of(record, "says so") for record in records if record.value == b"poison"]
        if poisons and len(tries) < 2:
            tries.append(1)
            raise RetryLater("away")
        return poisons

    consumer = consumer_of(settings, topic, "tried", away_twice)
    running = asyncio.create_task(consumer.run())
    (letter,) = await letters(settings, topic, 1)
    await consumer.stop(running, 3)
    assert dict(letter.headers)["tidings_dlq_attempts"] == b"3"


async def test_poison_too_large_for_a_dead_letter_is_parked_by_its_coordinates(
    settings: KafkaSettings, topic: str
) -> None:
    """Compressed, it is small enough for the topic; its letter would not be."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap_servers, compression_type="gzip", max_request_size=2**22
    )
    await producer.start()
    await producer.send_and_wait(topic, b"x" * 2**21, key=b"k")
    await producer.send_and_wait(topic, b"good", key=b"k")
    await producer.stop()

    class Large(Store):
        async def handle(self, records: Records) -> list[Poison]:
            self.values += [record.value for record in records if len(record.value or b"") < 100]
            return [Poison.of(record, "large") for record in records if len(record.value or b"") >= 100]

    store = Large()
    await consume(settings, topic, "large", store, 101)
    assert store.values == [*EXPECTED, b"good"]
    (letter,) = await letters(settings, topic, 1)
    headers = dict(letter.headers)
    assert (headers["tidings_dlq_cause"], headers["tidings_dlq_offset"]) == (b"large", b"100")
    assert headers["tidings_dlq_value_bytes_left_out"] == str(2**21).encode()


async def test_poison_that_cannot_be_parked_is_not_committed(settings: KafkaSettings, topic: str) -> None:
    await send(settings, topic, b"poison")
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    store = Store()
    consumer = consumer_of(settings, topic, "unparked", store.handle, letters_to=nowhere)
    running = asyncio.create_task(consumer.run())
    await store.until(100)
    await asyncio.sleep(0.5)
    await consumer.stop(running, 3)
    assert await committed(settings, topic, "unparked") <= 100  # what came before it may be


async def test_too_much_poison_ends_the_loop_and_parks_none_of_it(settings: KafkaSettings, topic: str) -> None:
    async def all_poison(records: Records) -> list[Poison]:
        return [Poison.of(record, "all") for record in records]

    consumer = consumer_of(settings, topic, "flooded", all_poison, Ceiling(share=0.5, at_least=10))
    with pytest.raises(TooMuchPoison, match=r"of .* records in the last minute are no events"):
        await asyncio.wait_for(consumer.run(), 20)
    assert await committed(settings, topic, "flooded") == 0


@pytest.mark.parametrize("backends", [pytest.param("real", marks=pytest.mark.real)], indirect=True)
async def test_what_a_producers_transaction_took_back_is_not_stored(settings: KafkaSettings, topic: str) -> None:
    """The embedded broker knows no transactions."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers, transactional_id=uuid7().hex)
    await producer.start()
    for value, keep in ((b"taken back", False), (b"kept", True)):
        await producer.begin_transaction()
        await producer.send_and_wait(topic, value, key=b"k")
        await (producer.commit_transaction() if keep else producer.abort_transaction())
    await producer.stop()
    store = Store()
    await consume(settings, topic, "transactions", store, 101)
    assert store.values == [*EXPECTED, b"kept"]


async def test_with_draining_everything_there_is_read_before_it_stops(settings: KafkaSettings, topic: str) -> None:
    draining = settings.model_copy(update={"drain_at_stop": True})
    store = Store()
    consumer = consumer_of(draining, topic, "drained", store.handle)
    running = asyncio.create_task(consumer.run())
    await store.until(1)
    await consumer.stop(running, 5)
    assert store.values == EXPECTED


async def test_draining_waits_for_records_that_a_slow_broker_still_holds() -> None:
    """An empty poll does not mean that there is nothing left: here each answer takes longer than one poll."""
    mock = confluent_kafka.Producer(
        {"test.mock.num.brokers": 1, "test.mock.broker.rtt": 2 * POLL_MS, "bootstrap.servers": "unused", "log_level": 0}
    )
    (broker,) = (await asyncio.to_thread(mock.list_topics, timeout=10)).brokers.values()
    settings = KafkaSettings(bootstrap_servers=f"{broker.host}:{broker.port}", fetch_max_wait_ms=10, drain_at_stop=True)
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers)
    await producer.start()
    await producer.send_and_wait("test.slow", b"0")
    await producer.stop()
    store = Store()
    consumer = consumer_of(settings, "test.slow", "slow", store.handle)
    running = asyncio.create_task(consumer.run())
    await connected(consumer)
    await consumer.stop(running, 10)
    assert (store.values, consumer.drained) == ([b"0"], True)


async def test_a_rebalance_that_never_ends_makes_no_hurry(caplog: pytest.LogCaptureFixture) -> None:
    consumer = consumer_of(KafkaSettings(bootstrap_servers="127.0.0.1:9"), "t", "g", Store().handle)
    consumer._hand_over.wanted.set()
    running = asyncio.create_task(consumer.run())
    await asyncio.sleep(1)
    await consumer.stop(running, 3)
    assert sum("not connected" in message for message in caplog.messages) < 10


async def test_without_a_broker_it_waits_and_says_so() -> None:
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    consumer = consumer_of(nowhere, "t", "g", Store().handle)
    running = asyncio.create_task(consumer.run())
    await asyncio.sleep(0.3)
    assert not running.done()
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9"):
        await consumer.check()
    await consumer.stop(running, 3)


class StoreWithPositions(Store):
    """Keeps also where reading goes on; `away` it answers nothing about that."""

    def __init__(self, offsets: Mapping[TopicPartition, int]) -> None:
        super().__init__()
        self.offsets = dict(offsets)
        self.asked = 0
        self.away = False

    async def handle(self, records: Records) -> list[Poison]:
        """Store a batch, and the positions after it when it has no poison."""
        poisons = await super().handle(records)
        if not poisons:
            self.offsets |= {TopicPartition(it.topic, it.partition): it.offset + 1 for it in records}
        return poisons

    async def all(self) -> Mapping[TopicPartition, int]:
        """Return the positions."""
        self.asked += 1
        if self.away:
            raise RetryLater("the database is away")
        return self.offsets

    async def advance(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store positions."""
        self.offsets |= offsets


async def place_of_records(settings: KafkaSettings, topic: str) -> TopicPartition:
    """Return the partition in which the topic has its records, which are of one key."""
    (partition,) = {record.partition for record in await records_of(settings.bootstrap_servers, topic, lambda _: True)}
    return TopicPartition(topic, partition)


@pytest.mark.parametrize("position", [0, 40, 99, 100])
async def test_reading_begins_at_the_stores_position_not_the_groups(
    settings: KafkaSettings, topic: str, position: int
) -> None:
    place = await place_of_records(settings, topic)
    group = f"restored-{position}"
    await consume(settings, topic, group, Store(), 100)
    assert await committed(settings, topic, group) == 100
    store = StoreWithPositions({place: position})
    consumer = consumer_of(settings, topic, group, store.handle, positions=store)
    running = asyncio.create_task(consumer.run())
    await connected(consumer)
    await send_one(settings, topic, b"sentinel", partition=place.partition)
    await store.until(101 - position)
    await consumer.stop(running, 3)
    assert store.values == [*EXPECTED[position:], b"sentinel"]
    assert store.offsets[place] == 101


@pytest.mark.parametrize("offsets", [{}, {TopicPartition("another", 0): 5}], ids=["none", "of-another"])
async def test_partition_that_the_store_does_not_know_is_read_from_its_begin(
    settings: KafkaSettings, topic: str, offsets: dict[TopicPartition, int]
) -> None:
    """It was read after the backup only, or the backup is of a release that kept no positions."""
    group = f"restored-{len(offsets)}"
    await consume(settings, topic, group, Store(), 100)
    store = StoreWithPositions(offsets)
    consumer = consumer_of(settings, topic, group, store.handle, positions=store)
    running = asyncio.create_task(consumer.run())
    await store.until(100)
    await consumer.stop(running, 3)
    assert store.values == EXPECTED


async def test_position_beyond_the_end_reads_all_again_and_says_so(
    settings: KafkaSettings, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = await place_of_records(settings, topic)
    store = StoreWithPositions({place: 5_000})
    consumer = consumer_of(settings, topic, "beyond", store.handle, positions=store)
    running = asyncio.create_task(consumer.run())
    await store.until(100)
    await consumer.stop(running, 3)
    assert store.values == EXPECTED
    assert f"{topic}[{place.partition}] ends at offset 100, before the position 5000" in caplog.text


async def until_committed(settings: KafkaSettings, topic: str, group: str, count: int) -> None:
    async with asyncio.timeout(20):
        while await committed(settings, topic, group) != count:  # noqa: ASYNC110  # Kafka has no event
            await asyncio.sleep(0.1)


async def test_positions_are_committed_without_any_new_record(settings: KafkaSettings, topic: str) -> None:
    """A lag that tools show would never end else."""
    place = await place_of_records(settings, topic)
    store = StoreWithPositions({place: 100})
    consumer = consumer_of(settings, topic, "ahead", store.handle, positions=store)
    running = asyncio.create_task(consumer.run())
    await until_committed(settings, topic, "ahead", 100)
    await consumer.stop(running, 3)
    assert store.values == []


async def test_commit_that_was_not_answered_is_made_again_without_any_new_record(
    settings: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commit, failures = AIOKafkaConsumer.commit, [TimeoutError(), TimeoutError()]

    async def commit_or_not(self: Any, offsets: Any) -> None:
        if failures:
            raise failures.pop()
        await commit(self, offsets)

    monkeypatch.setattr(AIOKafkaConsumer, "commit", commit_or_not)
    store = Store()
    consumer = consumer_of(settings, topic, "unanswered", store.handle)
    running = asyncio.create_task(consumer.run())
    await store.until(100)
    await until_committed(settings, topic, "unanswered", 100)
    await consumer.stop(running, 3)
    assert store.values == EXPECTED
    assert "offsets not committed: Kafka did not answer" in caplog.text


@pytest.mark.real
@pytest.mark.parametrize("backends", ["real"], indirect=True)
@pytest.mark.parametrize(("position", "missing"), [(10, 30), (39, 1), (40, 0)])
async def test_records_that_kafka_removed_unread_are_reported(
    settings: KafkaSettings, topic: str, caplog: pytest.LogCaptureFixture, position: int, missing: int
) -> None:
    place = await place_of_records(settings, topic)
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": settings.bootstrap_servers})
    removed = admin.delete_records([confluent_kafka.TopicPartition(place.topic, place.partition, 40)])
    for done in removed.values():
        done.result(20)
    store = StoreWithPositions({place: position})
    consumer = consumer_of(settings, topic, f"late-{position}", store.handle, positions=store)
    running = asyncio.create_task(consumer.run())
    await store.until(60)
    await consumer.stop(running, 3)
    assert store.values == EXPECTED[40:]
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    if missing:
        (message,) = said
        assert f"removed {missing} records of {topic}[{place.partition}], offsets {position} to 39:" in message
    else:
        assert said == []


async def test_nothing_is_stored_before_the_positions_are_known(settings: KafkaSettings, topic: str) -> None:
    place = await place_of_records(settings, topic)
    store = StoreWithPositions({place: 40})
    store.away = True
    consumer = consumer_of(settings, topic, "not-yet", store.handle, positions=store)
    running = asyncio.create_task(consumer.run())
    async with asyncio.timeout(30):
        while store.asked < 3:  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.05)
    assert store.values == []
    store.away = False
    await store.until(60)
    await consumer.stop(running, 3)
    assert store.values == EXPECTED[40:]


async def test_position_passes_a_poison_record_only_once_it_is_parked(settings: KafkaSettings, topic: str) -> None:
    place = await place_of_records(settings, topic)
    await send_one(settings, topic, b"poison", partition=place.partition)
    store = StoreWithPositions({place: 100})
    nowhere = settings.model_copy(update={"bootstrap_servers": "127.0.0.1:9"})
    handled = asyncio.Event()

    async def noting(records: Records) -> list[Poison]:
        poisons = await store.handle(records)
        handled.set()
        return poisons

    consumer = consumer_of(settings, topic, "poisoned", noting, Ceiling(1, 1000), nowhere, store)
    running = asyncio.create_task(consumer.run())
    await asyncio.wait_for(handled.wait(), 30)
    assert store.offsets[place] == 100
    await consumer.stop(running, 5)
    assert store.offsets[place] == 100
    again = consumer_of(settings, topic, "poisoned", store.handle, Ceiling(1, 1000), positions=store)
    running = asyncio.create_task(again.run())
    async with asyncio.timeout(30):
        while store.offsets[place] == 100:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.05)
    await again.stop(running, 3)
    assert store.offsets[place] == 101
    assert len(await records_of(settings.bootstrap_servers, f"{topic}.dlq", lambda _: True)) == 1


async def send_one(settings: KafkaSettings, topic: str, value: bytes, partition: int) -> None:
    """Send one record into a partition."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers)
    await producer.start()
    await producer.send_and_wait(topic, value, partition=partition)
    await producer.stop()
