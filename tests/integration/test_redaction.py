"""Redaction: the secrets of a thousand payloads, at any depth, are found on no wire, in no store, log line or span."""

import asyncio
import io
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pydantic import SecretStr
from pydantic_core import to_json

from support.collector import Collector
from support.dump import everything_in
from support.logged import logged
from support.metrics import points
from support.secret_payloads import Payloads
from support.topic import records_of
from tidings.database.columns import new_metadata
from tidings.database.engine import create_engine
from tidings.database.migrations import upgrade
from tidings.database.settings import DatabaseSettings
from tidings.database.transactions import Database, Transaction
from tidings.events import CATALOGUE, EventData, uuid7
from tidings.kafka.activity import ActivityLane
from tidings.kafka.consumer import Consumer
from tidings.kafka.dead_letters import Ceiling, DeadLetters
from tidings.kafka.publisher import Publisher
from tidings.kafka.settings import KafkaSettings
from tidings.outbox.record import Outbox
from tidings.outbox.relay import Relay
from tidings.outbox.table import outbox_table
from tidings.standard_variables import StandardVariables
from tidings.telemetry.setup import Telemetry
from tidings_local.backends import Backends
from tidings_log_consumer.ingest import Ingest

EACH = 334
"""Payloads for each of three ways: outbox lane, activity lane, and a producer of somebody else's."""
SOURCE = "tidings-test"
STRANGERS = ["shop", "billing", "https://mina:canary-of-a-source@stranger.test"]
HIDDEN_STRANGER = "[redacted]"


class Anything(EventData):
    """Takes any payload; of its text its key is made."""

    name = "test.anything"

    text: str
    payload: dict[str, Any]

    def key(self) -> str:
        return self.text

    def user(self) -> None:
        return None


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    with logged("INFO") as stream:
        yield stream


class Bench:
    """Both lanes and the log, on a topic of their own."""

    def __init__(self, backends: Backends, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:

        class Here(Anything):
            topic = f"test.{uuid7().hex}"

        monkeypatch.setitem(CATALOGUE, Here.type(), Here)
        self.kind = Here
        self.metrics = InMemoryMetricReader()
        settings = StandardVariables.model_validate({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
        self.telemetry = Telemetry(SOURCE, settings, metric_readers=[self.metrics])
        self.kafka = KafkaSettings(bootstrap_servers=backends.kafka, fetch_max_wait_ms=10)
        metadata = new_metadata()
        self.outbox = Outbox(outbox_table(metadata), SOURCE)
        self.databases = {
            name: create_engine(DatabaseSettings(url=SecretStr(backends.database(name))), self.telemetry)
            for name in ("outbox", "logs")
        }
        self._tables = metadata
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Bench":
        async with self.databases["outbox"].begin() as connection:
            await connection.run_sync(self._tables.create_all)
            lease = self._tables.tables["outbox_lease"]
            await connection.execute(lease.insert().values(name="relay", holder="", expires_ms=0))
        await upgrade(self.databases["logs"], "tidings_log_consumer")
        for engine in self.databases.values():
            self._stack.push_async_callback(engine.dispose)
        self.ingest = Ingest(Database(self.databases["logs"], 10), self.telemetry.tracer, self.telemetry.meter)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def publisher(self, name: str) -> Publisher:
        return Publisher(self.kafka, self.telemetry.tracer, name)

    async def record(self, events: list[EventData]) -> None:
        """Commit the events into the outbox."""

        async def write(transaction: Transaction) -> None:
            for event in events:
                await self.outbox.record(transaction, event)

        await Database(self.databases["outbox"], 30).run_in_transaction(write)

    async def relay(self) -> None:
        """Publish the outbox."""
        database = Database(self.databases["outbox"], 10)
        relay = Relay(database, self.outbox.table, self.publisher("relay"), self.telemetry.meter)
        await relay.stop(asyncio.create_task(relay.run()), 30)

    async def emit(self, events: list[EventData]) -> None:
        """Send the events through an activity lane."""
        lane = ActivityLane(self.publisher("activity"), self.telemetry.meter, SOURCE)
        for event in events:
            lane.emit(event)
        await lane.stop(asyncio.create_task(lane.run()), 30)
        assert lane.counts["delivered"] == len(events)

    async def send_raw(self, source: str, value: bytes, **headers: str) -> None:
        """Send a record as somebody does who does not use this library."""
        known = {"ce_specversion": "1.0", "ce_id": str(uuid7()), "ce_source": source, "ce_type": self.kind.type()}
        known |= {"ce_time": "2026-01-02T03:04:05Z"} | headers
        await self._raw.send(
            self.kind.topic, value, key=b"k", headers=[(name, text.encode()) for name, text in known.items()]
        )

    async def send_structured(self, source: str, value: bytes) -> None:
        """Send an event as a whole, its data out of sight."""
        event = {"specversion": "1.0", "id": str(uuid7()), "source": source, "type": self.kind.type()}
        event |= {"time": "2026-01-02T03:04:05Z", "data_base64": b64encode(value).decode()}
        await self.send_raw(source, to_json(event), **{"content-type": "application/cloudevents+json"})

    async def open_raw(self) -> None:
        self._raw = AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap_servers, acks="all")
        await self._raw.start()
        self._stack.push_async_callback(self._raw.stop)

    async def consume(self, count: int) -> None:
        """Have the log store everything."""
        letters = DeadLetters(self.publisher("letters"), self.kind.topic)
        consumer = Consumer(self.kafka, [self.kind.topic], self.kind.topic, self.ingest.store, letters, Ceiling(1, 100))
        running = asyncio.create_task(consumer.run())
        for _ in range(600):
            if self.ingest.counts["stored"] + self.ingest.counts["rejected"] >= count:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # what must not come would come now
        await consumer.stop(running, 5)


@pytest.fixture
async def bench(
    backends: Backends, collector: Collector, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    async with Bench(backends, collector, monkeypatch) as bench:
        await bench.open_raw()
        yield bench


def test_a_payloads_secrets_are_known() -> None:
    """Guards the guard: each is really in the payload."""
    payloads = Payloads(seed=1)
    everything = b"".join(to_json(payloads.next()[0]) for _ in range(100)).decode()
    assert len(payloads.canaries) > 200
    assert payloads.found_in(everything) == payloads.canaries


async def test_no_secret_is_found_anywhere_and_each_is_counted(
    bench: Bench, collector: Collector, log: io.StringIO
) -> None:
    payloads = Payloads(seed=4711)

    def events(count: int) -> list[EventData]:
        return [bench.kind(text=_text(payloads, number), payload=payloads.next()[0]) for number in range(count)]

    await bench.record(events(EACH))
    assert payloads.found_in(await everything_in(bench.databases["outbox"])) == []
    await bench.relay()
    await bench.emit(events(EACH))
    expected: Counter[str] = Counter()
    for number in range(EACH):
        source = STRANGERS[number % 3]
        payload, violations = payloads.next()
        unknown, more = payloads.next()
        hidden = source == STRANGERS[2]
        expected[HIDDEN_STRANGER if hidden else source] += violations + more + hidden
        send = bench.send_structured if number % 2 else bench.send_raw
        await send(source, to_json({"text": "x", "payload": payload, "unknown": unknown}))
    poison = [to_json({"payload": payloads.next()[0]}) for _ in range(3)]
    poison += [value[:-1] for value in poison]
    for value in poison:
        await bench.send_raw("shop", value)
    await bench.consume(3 * EACH + len(poison))
    await bench.telemetry.shutdown(10)

    assert bench.ingest.counts == {"stored": 3 * EACH, "rejected": len(poison), "redacted": expected.total()}
    counted = points(bench.metrics, "tidings.events.redacted")
    assert {attributes["source"]: value for attributes, value in counted} == expected

    wire = await records_of(bench.kafka.bootstrap_servers, bench.kind.topic, _is_ours)
    assert len(wire) == 2 * EACH
    letters = await records_of(bench.kafka.bootstrap_servers, f"{bench.kind.topic}.dlq", lambda _: True, len(poison))
    assert sorted(letter.value for letter in letters) == sorted(poison)
    stored = await everything_in(bench.databases["logs"])
    assert stored.count("test.anything") == 3 * EACH
    assert "secrets redacted before storing" in log.getvalue()
    assert f"publish {bench.kind.topic}".encode() in b"".join(collector.raw)
    for place, text in {
        "kafka": "".join(str(record) for record in wire),
        "causes": "".join(str(letter.headers) for letter in letters),
        "store": stored,
        "log": log.getvalue(),
        "spans": b"".join(collector.raw).decode(errors="replace"),
    }.items():
        assert payloads.found_in(text) == [], place
        assert "canary" not in text.replace(bench.kind.topic, ""), place


def _text(payloads: Payloads, number: int) -> str:
    """A key that is a secret now and then."""
    return payloads.card() if number % 10 == 0 else f"key-{number}"


def _is_ours(record: Any) -> bool:
    headers: Mapping[str, bytes] = dict(record.headers)
    return headers["ce_source"] == SOURCE.encode()
