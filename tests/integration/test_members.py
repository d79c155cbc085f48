"""Several members of one consumer group: they come, go and die, and every record is stored, each partition in order.

On the real broker only: the embedded one serves one member a group.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from opentelemetry.trace import NoOpTracerProvider

from support import kcat
from support.servers import RealServers, require
from tidings.events import uuid7
from tidings.kafka.consumer import Consumer, Records, RetryLater
from tidings.kafka.dead_letters import Ceiling, DeadLetters, Poison
from tidings.kafka.publisher import Publisher
from tidings.kafka.settings import KafkaSettings

pytestmark = pytest.mark.real

PARTITIONS = 6
RECORDS = 3000


@pytest.fixture
def settings(servers: RealServers) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=servers.kafka.bootstrap, fetch_max_wait_ms=10)


@pytest.fixture
async def topic(settings: KafkaSettings) -> str:
    name = f"test.{uuid7().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
    await admin.close()
    return name


class Store:
    """What all members write to; like the log, it keeps each record once, however often it is read."""

    def __init__(self) -> None:
        self.partitions: list[list[int]] = [[] for _ in range(PARTITIONS)]
        self.read_again = 0
        self.away = False
        self.seconds = 0.2

    async def handle(self, records: Records) -> list[Poison]:
        """Store a batch, which takes a while."""
        await asyncio.sleep(self.seconds)
        if self.away:
            raise RetryLater("away")
        for record in records:
            kept = self.partitions[record.partition]
            if record.offset in kept:
                self.read_again += 1
            else:
                kept.append(record.offset)
        return []

    @property
    def count(self) -> int:
        """How many records are stored."""
        return sum(len(kept) for kept in self.partitions)

    async def until(self, count: int) -> None:
        """Wait until so many are stored."""
        for _ in range(600):
            if self.count >= count:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{self.count} of {count} were stored")


class Members:
    """The members of one group."""

    def __init__(self, settings: KafkaSettings, topic: str, store: Store) -> None:
        self._settings = settings
        self._topic = topic
        self._store = store
        self.running: dict[Consumer, asyncio.Task[None]] = {}

    async def join(self) -> Consumer:
        """Start one more, and wait until it is a member."""
        publisher = Publisher(self._settings, NoOpTracerProvider().get_tracer("test"), "test-dead-letters")
        letters = DeadLetters(publisher, "members")
        member = Consumer(self._settings, [self._topic], "members", self._store.handle, letters, Ceiling(0.5, 1000))
        self.running[member] = asyncio.create_task(member.run())
        for _ in range(400):
            try:
                await member.check()
            except ConnectionError:
                await asyncio.sleep(0.05)
            else:
                return member
        raise AssertionError("it did not become a member")

    async def leave(self, member: Consumer) -> None:
        """Stop one in order."""
        await member.stop(self.running.pop(member), 5)


@asynccontextmanager
async def sending(settings: KafkaSettings, topic: str) -> AsyncIterator["asyncio.Task[None]"]:
    """Send `RECORDS` records over some seconds, evenly over all partitions."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers, acks="all", enable_idempotence=True)
    await producer.start()

    async def send() -> None:
        for number in range(RECORDS):
            await producer.send(topic, b"x", partition=number % PARTITIONS)
            if number % 15 == 0:
                await asyncio.sleep(0.03)
        await producer.flush()

    yield asyncio.create_task(send())
    await producer.stop()


async def test_members_that_come_and_go_under_load_store_everything_once_and_in_order(
    settings: KafkaSettings, topic: str
) -> None:
    store = Store()
    members = Members(settings, topic, store)
    first = await members.join()
    async with sending(settings, topic) as sent:
        await store.until(100)
        second = await members.join()
        await store.until(1000)
        third = await members.join()
        await members.leave(first)
        await sent
        await members.leave(second)
        await store.until(RECORDS)
    await members.leave(third)
    assert store.partitions == [list(range(RECORDS // PARTITIONS))] * PARTITIONS
    assert store.read_again == 0  # nobody died: what was in hand was stored and committed before it was handed over


async def test_a_member_that_cannot_store_keeps_its_place_and_lets_a_rebalance_pass(
    settings: KafkaSettings, topic: str
) -> None:
    store = Store()
    members = Members(settings, topic, store)
    first = await members.join()
    async with sending(settings, topic) as sent:
        await store.until(100)
        store.away = True
        await asyncio.sleep(0.5)
        second = await members.join()
        await sent
        store.away = False
        await store.until(RECORDS)
    assert store.partitions == [list(range(RECORDS // PARTITIONS))] * PARTITIONS
    await members.leave(first)
    await members.leave(second)


async def test_a_batch_longer_than_the_hand_over_is_read_again_by_its_heir_and_stored_once(
    settings: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidings.kafka.rebalance.HAND_OVER_SECONDS", 0.1)
    store = Store()
    store.seconds = 1.0
    members = Members(settings, topic, store)
    first = await members.join()
    async with sending(settings, topic) as sent:
        await store.until(100)
        second = await members.join()
        await sent
        store.seconds = 0.01
        await store.until(RECORDS)
    assert [sorted(kept) for kept in store.partitions] == [list(range(RECORDS // PARTITIONS))] * PARTITIONS
    await members.leave(first)
    await members.leave(second)


async def test_a_batch_let_go_for_a_rebalance_is_not_passed_over_for_an_unreadable_record_elsewhere(
    settings: KafkaSettings, topic: str
) -> None:
    """The unreadable record has everything go back to where it was, which must not be after the batch."""
    require("kcat")
    store = Store()
    store.away = True
    members = Members(settings, topic, store)
    first = await members.join()
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers, acks="all") as producer:
        for _ in range(100):
            await producer.send(topic, b"x", partition=0)
    await asyncio.sleep(0.5)  # they are in hand
    await asyncio.to_thread(
        kcat.produce, settings.bootstrap_servers, topic, b"bad", {}, header_key=b"\xff\xfe", partition=1
    )
    await asyncio.sleep(0.5)
    assert first._member is not None
    first._member._coordinator.request_rejoin()  # as a heartbeat does when somebody comes or goes
    await asyncio.wait_for(first._hand_over.wanted.wait(), 10)
    while first._hand_over.wanted.is_set():  # noqa: ASYNC110  # aiokafka clears it
        await asyncio.sleep(0.01)
    store.away = False
    await store.until(100)
    await members.leave(first)
    assert store.partitions[0] == list(range(100))
