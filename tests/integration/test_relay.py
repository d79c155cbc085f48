"""The relay: every committed row reaches Kafka, in order, and leaves the outbox only when Kafka has it."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError
from opentelemetry.context import attach, detach
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, SpanKind, Tracer
from pydantic import SecretStr
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from support.topic import records_of
from tidings.commands import with_database
from tidings.database.columns import new_metadata
from tidings.database.engine import create_engine
from tidings.database.settings import DatabaseSettings
from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings.events import MessageCreated, uuid7
from tidings.kafka.ordered import HeldBack, Outcome
from tidings.kafka.publisher import Outgoing, Publisher
from tidings.kafka.settings import KafkaSettings
from tidings.outbox import commands
from tidings.outbox.parking import Retries, park, reason_of
from tidings.outbox.record import Outbox
from tidings.outbox.relay import Relay, RowsParked
from tidings.outbox.table import outbox_table
from tidings.telemetry.propagation import context_from
from tidings_local.backends import Backends

T = TypeVar("T")

AUTHOR = uuid7()
ENDLESS = 10**6
SILENT = NoOpTracerProvider().get_tracer("test")


@dataclass
class Bench:
    """An outbox with a relay that is not yet running."""

    database: Database
    outbox: Outbox
    relay: Relay
    kafka: KafkaSettings

    async def record(self, *messages: UUID) -> None:
        """Commit one event for each message, with one deadline for each hundred."""

        async def write(transaction: Transaction, some: Sequence[UUID]) -> None:
            for message in some:
                data = MessageCreated(message_id=message, author_id=AUTHOR, author="mina", length=1)
                await self.outbox.record(transaction, data)

        for start in range(0, len(messages), 100):
            await self.database.run_in_transaction(partial(write, some=messages[start : start + 100]))

    async def waiting(self) -> int:
        """Return how many rows are not yet published."""

        async def read(connection: AsyncConnection) -> int:
            return (await connection.execute(select(func.count()).select_from(self.outbox.table))).scalar_one()

        return await self.database.read(read)

    async def until_empty(self) -> None:
        """Wait until nothing waits."""
        await self.until(0)

    async def until(self, count: int, seconds: float = 10) -> None:
        """Wait until only so many rows wait."""
        for _ in range(int(seconds * 20)):
            if await self.waiting() == count:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{await self.waiting()} rows still wait: {self.relay.last_error}")


@pytest.fixture
async def bench(backends: Backends) -> AsyncIterator[Bench]:
    metadata = new_metadata()
    outbox = Outbox(outbox_table(metadata), "tidings-test")
    settings = DatabaseSettings(url=SecretStr(backends.database("relay")))
    engine = create_engine(settings)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(metadata.tables["outbox_lease"].insert().values(name="relay", holder="", expires_ms=0))
    database = Database(engine, settings.deadline_seconds)
    kafka = KafkaSettings(bootstrap_servers=backends.kafka, fetch_max_wait_ms=10)
    yield Bench(database, outbox, relay_of(database, outbox, kafka), kafka)
    await engine.dispose()


def relay_of(database: Database, outbox: Outbox, kafka: KafkaSettings, tracer: Tracer = SILENT) -> Relay:
    publisher = Publisher(kafka, tracer, "test-relay")
    relay = Relay(database, outbox.table, publisher, NoOpMeterProvider().get_meter("test"))
    outbox.wakes(relay.wake)
    return relay


async def published(kafka: KafkaSettings, wanted: set[bytes]) -> list[bytes]:
    """Return the keys among `wanted` that are in the topic, in the order of each partition."""
    found = await records_of(kafka.bootstrap_servers, "tidings.messages.v1", lambda record: record.key in wanted)
    return [record.key for record in found]


def keys(messages: list[UUID]) -> set[bytes]:
    return {str(message).encode() for message in messages}


async def test_what_was_recorded_before_the_relay_ran_is_published_once(bench: Bench) -> None:
    messages = [uuid7() for _ in range(1203)]
    await bench.record(*messages)
    assert await bench.waiting() == 1203
    running = asyncio.create_task(bench.relay.run())
    await bench.until_empty()
    await bench.relay.stop(running, 2)
    found = await published(bench.kafka, keys(messages))
    assert len(found) == 1203
    assert set(found) == keys(messages)


class FailingDeletes(Database):
    """A database that does not answer the first deletes of published rows."""

    def __init__(self, database: Database, failures: int) -> None:
        super().__init__(database.engine, 1.5)
        self.failures = failures

    async def run_in_transaction(self, work: Callable[[Transaction], Awaitable[T]], deadline: float | None = None) -> T:
        if deadline and self.failures:  # nothing else has a deadline of its own
            self.failures -= 1
            raise DatabaseUnavailable("the database did not answer in time")
        return await super().run_in_transaction(work, deadline)


@pytest.mark.parametrize("failures", [1, 11])
async def test_rows_whose_delete_failed_are_not_published_again(bench: Bench, failures: int) -> None:
    """Eleven failures are more than halvings: the relay backs off in between, and other rows come meanwhile."""
    messages = [uuid7() for _ in range(600)]
    await bench.record(*messages)
    database = FailingDeletes(bench.database, failures)
    relay = relay_of(database, bench.outbox, bench.kafka)
    running = asyncio.create_task(relay.run())
    messages.append(uuid7())
    await bench.record(messages[-1])
    await bench.until(0, seconds=60)
    await relay.stop(running, 2)
    assert database.failures == 0
    found = await published(bench.kafka, keys(messages))
    assert len(found) == len(messages)
    assert set(found) == keys(messages)


@pytest.mark.parametrize("backends", [pytest.param("real", marks=pytest.mark.real)], indirect=True)
@pytest.mark.parametrize("seconds", [0.005, 0.015])
async def test_slow_deletes_never_make_rows_be_published_again(bench: Bench, seconds: float) -> None:
    """A batch takes 2.5 s, or 7.5 s, which is more than one transaction may take."""
    trigger = f"CREATE TRIGGER slow BEFORE DELETE ON outbox FOR EACH ROW SET @slow = SLEEP({seconds})"
    async with bench.database.engine.begin() as connection:
        await connection.execute(text(trigger))
    messages = [uuid7() for _ in range(700)]
    await bench.record(*messages)
    running = asyncio.create_task(bench.relay.run())
    await bench.until(0, seconds=120)
    await bench.relay.stop(running, 2)
    found = await published(bench.kafka, keys(messages))
    assert len(found) == len(messages)
    assert set(found) == keys(messages)


async def test_relay_that_lost_its_lease_deletes_nothing(bench: Bench) -> None:
    database = FailingDeletes(bench.database, ENDLESS)
    relay = relay_of(database, bench.outbox, bench.kafka)
    await bench.record(uuid7())
    lease = bench.outbox.table.metadata.tables["outbox_lease"]

    async def steal(transaction: Transaction) -> None:
        await transaction.execute(lease.update().values(holder="another", expires_ms=2**53))

    running = asyncio.create_task(relay.run())
    await until(lambda: database.failures < ENDLESS)
    await bench.database.run_in_transaction(steal)
    await until(lambda: not relay._settlement)
    await relay.stop(running, 1)
    assert await bench.waiting() == 1  # it is published and deleted by whoever has the lease


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail after half a minute."""
    for _ in range(600):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen")


async def test_events_of_one_key_keep_their_order(bench: Bench, backends: Backends) -> None:
    message = uuid7()
    running = asyncio.create_task(bench.relay.run())
    for _ in range(30):
        await bench.record(message)
    await bench.until_empty()
    await bench.relay.stop(running, 2)
    found = await records_of(
        backends.kafka, "tidings.messages.v1", lambda record: record.key == str(message).encode(), count=30
    )
    ids = [dict(record.headers)["ce_id"] for record in found]
    assert len(ids) == 30
    assert ids == sorted(ids)  # ids are UUIDv7: their order is that of recording


async def test_a_commit_wakes_the_relay_before_its_next_poll(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.outbox.relay.POLL_SECONDS", 3600.0)
    running = asyncio.create_task(bench.relay.run())
    for _ in range(3):
        await bench.record(uuid7())
        await bench.until_empty()
    await bench.relay.stop(running, 2)


async def test_a_row_that_commits_late_with_a_low_position_is_published(bench: Bench) -> None:
    """On MariaDB the first transaction takes its position, then the second commits and is published before it."""
    late, early = uuid7(), uuid7()
    running = asyncio.create_task(bench.relay.run())
    if bench.database.dialect == "mysql":

        async def slow(transaction: Transaction) -> None:
            await bench.outbox.record(
                transaction, MessageCreated(message_id=late, author_id=AUTHOR, author="mina", length=1)
            )
            await bench.record(early)
            await asyncio.sleep(0.5)

        await bench.database.run_in_transaction(slow)
    else:
        await bench.record(early)
        await bench.record(late)
    await bench.until_empty()
    await bench.relay.stop(running, 2)
    assert set(await published(bench.kafka, keys([late, early]))) == keys([late, early])


async def test_rows_stay_while_kafka_is_away_and_the_relay_says_why(bench: Bench) -> None:
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    relay = relay_of(bench.database, bench.outbox, nowhere)
    running = asyncio.create_task(relay.run())
    await bench.record(uuid7())
    for _ in range(100):
        if "127.0.0.1:9" in str(relay.last_error):
            break
        await asyncio.sleep(0.05)
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9"):
        await relay.check()
    await relay.stop(running, 1)
    assert await bench.waiting() == 1


async def test_a_rolled_back_fact_is_never_published(bench: Bench) -> None:
    message = uuid7()

    async def fail(transaction: Transaction) -> None:
        await bench.outbox.record(
            transaction, MessageCreated(message_id=message, author_id=AUTHOR, author="mina", length=1)
        )
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await bench.database.run_in_transaction(fail)
    running = asyncio.create_task(bench.relay.run())
    await bench.record(uuid7())
    await bench.until_empty()
    await bench.relay.stop(running, 2)
    assert await published(bench.kafka, keys([message])) == []


async def refuse(bench: Bench, message: UUID) -> None:
    """Make the first waiting row of `message` larger than Kafka takes."""
    table = bench.outbox.table

    async def enlarge(transaction: Transaction) -> None:
        first = select(func.min(table.c.position)).where(table.c.key == str(message))
        position = (await transaction.execute(first)).scalar_one()
        await transaction.execute(table.update().where(table.c.position == position).values(value=b" " * 2**21))

    await bench.database.run_in_transaction(enlarge)


async def command(bench: Bench, *words: str) -> str:
    """Run one of the operator's commands."""
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    return await commands.run(parser.parse_args(words), bench.database, bench.outbox.table)


async def until_parked(bench: Bench) -> str:
    """Wait until a row is parked, and return its position."""
    for _ in range(200):
        listed = await command(bench, "list", "--parked")
        if listed != "nothing waits":
            return listed.split()[0]
        await asyncio.sleep(0.05)
    raise AssertionError("nothing was parked")


async def test_a_refused_row_is_parked_and_holds_back_its_own_key_only(bench: Bench) -> None:
    large, small = uuid7(), uuid7()
    await bench.record(large, small, large, small)
    await refuse(bench, large)
    running = asyncio.create_task(bench.relay.run())
    position = await until_parked(bench)
    await bench.until(2)
    assert await published(bench.kafka, keys([large, small])) == [str(small).encode()] * 2
    assert "RecordTooLarge" in await command(bench, "list", "--parked")
    assert bench.relay.last_error is None  # the relay is well, and so is the service

    async def mend(transaction: Transaction) -> None:
        table = bench.outbox.table
        await transaction.execute(table.update().where(table.c.position == int(position)).values(value=b"{}"))

    await bench.database.run_in_transaction(mend)
    assert await command(bench, "retry", position) == "1 row is published next"
    await bench.until_empty()
    await bench.relay.stop(running, 2)
    assert sorted(await published(bench.kafka, keys([large]))) == [str(large).encode()] * 2


class LimitedPublisher(Publisher):
    """A publisher whose broker takes no value longer than a limit, which may change."""

    limit = 2**20

    async def publish(self, batch: Sequence[Outgoing], deadline: float = 15) -> list[Outcome]:
        if all(len(one.record.value or b"") <= self.limit for one in batch):
            return await super().publish(batch, deadline)
        outcomes: list[Outcome] = []
        refused: set[bytes | None] = set()
        for one in batch:
            if one.record.key in refused:
                outcomes.append(HeldBack())
            elif len(one.record.value or b"") > self.limit:
                refused.add(one.record.key)
                outcomes.append(MessageSizeTooLargeError())
            else:
                outcomes += await super().publish([one], deadline)
        return outcomes


def limited(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> tuple[Relay, LimitedPublisher]:
    """Return a relay that looks for parked rows all the time, and its publisher."""
    monkeypatch.setattr("tidings.outbox.backlog.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("tidings.outbox.parking.FIRST_SECONDS", 0.05)
    monkeypatch.setattr("tidings.outbox.parking.LONGEST_SECONDS", 0.2)
    publisher = LimitedPublisher(bench.kafka, SILENT, "test-relay")
    relay = Relay(bench.database, bench.outbox.table, publisher, NoOpMeterProvider().get_meter("test"))
    bench.outbox.wakes(relay.wake)
    return relay, publisher


async def test_rows_over_lowered_broker_limit_are_published_later(
    bench: Bench, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, publisher = limited(bench, monkeypatch)
    publisher.limit = 10
    messages = [uuid7() for _ in range(40)]
    await bench.record(*messages, *messages, *messages)
    running = asyncio.create_task(relay.run())
    await until(lambda: relay._gauges.backlog.parked >= 38)  # one or two are being tried at the moment
    with pytest.raises(RowsParked, match=r"\d+ rows are parked, later rows of their keys wait"):
        await relay.check_parked()
    await relay.check()  # the relay is well all the same
    assert "over the broker's limit, tried again by itself" in await command(bench, "list", "--parked")
    publisher.limit = 2**20
    await bench.until(0, seconds=60)
    await until(lambda: relay._gauges.backlog.parked == 0)
    await relay.check_parked()
    await relay.stop(running, 2)
    wanted = keys(messages)
    found = await records_of(backends.kafka, "tidings.messages.v1", lambda record: record.key in wanted, count=120)
    for message in messages:
        ids = [dict(one.headers)["ce_id"] for one in found if one.key == str(message).encode()]
        assert len(ids) == 3
        assert ids == sorted(ids)


async def test_rows_that_stay_too_large_do_not_hold_up_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    relay, publisher = limited(bench, monkeypatch)
    publisher.limit = 10
    large, small = uuid7(), [uuid7() for _ in range(10)]
    await bench.record(large, *small)
    table = bench.outbox.table
    enlarge = table.update().where(table.c.key == str(large)).values(value=b" " * 9_000)
    await bench.database.run_in_transaction(lambda transaction: transaction.execute(enlarge))
    running = asyncio.create_task(relay.run())
    await until(lambda: relay._gauges.backlog.parked >= 10)
    publisher.limit = 8_000
    await bench.until(1, seconds=60)
    await relay.stop(running, 2)
    assert set(await published(bench.kafka, keys([large, *small]))) == keys(small)


async def test_refused_retries_become_rare_and_stay_single(bench: Bench) -> None:
    await bench.record(*[uuid7() for _ in range(5)])
    table = bench.outbox.table
    refusal = reason_of(MessageSizeTooLargeError())
    parked = table.update().values(parked_at=datetime.now(UTC), parked_reason=refusal)
    await bench.database.run_in_transaction(lambda transaction: transaction.execute(parked))
    retries = Retries(bench.database, table, 500)
    tried: list[int] = []
    pauses = []
    for _ in range(8):
        await retries.unpark_some()
        (position,) = retries._tried
        tried.append(position)
        await bench.database.run_in_transaction(partial(park, table=table, position=position, reason=refusal))
        retries.note([], [])  # held back by another row, and sent again
        retries.note([], [position])
        pauses.append(retries._pause)
        assert not retries.due
    assert pauses == [4, 8, 16, 30, 30, 30, 30, 30]
    assert len(set(tried)) == 5  # each has its turn
    for count in (1, 2):
        await retries.unpark_some()
        assert len(retries._tried) == count
        for position in list(retries._tried):  # those of one partition are acknowledged, then those of another
            assert not retries.due
            retries.note([position], [])
        assert retries.due


@pytest.mark.parametrize("backends", [pytest.param("real", marks=pytest.mark.real)], indirect=True)
async def test_rows_are_published_when_kafka_raises_its_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.outbox.backlog.LOOK_SECONDS", 0.1)
    messages = [uuid7() for _ in range(60)]  # one for each pause would take two minutes
    admin = AIOKafkaAdminClient(bootstrap_servers=bench.kafka.bootstrap_servers)
    await admin.start()

    async def limit(size: int) -> None:
        configs = {"max.message.bytes": str(size)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "tidings.messages.v1", configs)])

    await bench.record(uuid7())
    running = asyncio.create_task(bench.relay.run())
    await bench.until(0)
    try:
        await limit(100)
        await bench.record(*messages)
        await until(lambda: bench.relay._gauges.backlog.parked > 10)
    finally:
        await limit(2**20)
        await admin.close()
    await bench.until(0, seconds=60)
    await bench.relay.stop(running, 2)
    assert sorted(await published(bench.kafka, keys(messages))) == sorted(keys(messages))


async def test_parked_row_holds_back_only_later_rows_of_its_key(bench: Bench) -> None:
    message = uuid7()
    await bench.record(message, message, message)
    first, second, _ = (line.split()[0] for line in (await command(bench, "list")).splitlines())
    await command(bench, "park", second)
    running = asyncio.create_task(bench.relay.run())
    await bench.until(2)
    await bench.relay.stop(running, 2)
    with pytest.raises(LookupError):
        await command(bench, "show", first)


async def test_retry_takes_several_positions_and_filters(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    await bench.record(*[uuid7() for _ in range(6)])
    positions = [line.split()[0] for line in (await command(bench, "list")).splitlines()]
    reasons = ["Over_limit", "Over_limit", "Over1limit", "other", "other"]
    for position, reason in zip(positions, reasons, strict=False):
        work = partial(park, table=bench.outbox.table, position=int(position), reason=reason)
        await bench.database.run_in_transaction(work)

    async def retry(*words: str) -> str:
        return (await command(bench, "retry", *words)).partition(" are ")[0]

    assert await retry("--all", "--dry-run") == "5 rows"
    assert await retry("--all", "--reason", "over_LIMIT", "--dry-run") == "2 rows"
    assert await retry("--all", "--topic", "tidings.auth.v1") == "no parked row is like this; nothing is changed"
    with pytest.raises(LookupError, match=r"there is no row 8888, 9999: it is published, or never was"):
        await retry(positions[0], "9999", "8888")
    assert await retry("--all", "--dry-run") == "5 rows"
    assert await retry(positions[0], positions[1], positions[3]) == "3 rows"
    one = await retry("--all", "--reason", "OTHER", "--topic", "tidings.messages.v1", "--dry-run")
    assert one == "1 row is parked and would be published next; nothing is changed"
    assert await retry("--all") == "2 rows"
    assert await command(bench, "list", "--parked") == "nothing waits"
    assert capsys.readouterr().err.splitlines() == ["3 of 3 rows", "2 of 2 rows"]


@pytest.mark.parametrize("words", [[], ["--all", "3"], ["--reason", "x"]])
def test_retry_needs_either_positions_or_all(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["retry", *words])
    assert "--all" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--reason", ""], ["--topic", ""], ["--reason", " "]])
def test_retry_refuses_an_empty_condition(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["retry", "--all", *words])
    assert f"argument {words[0]}: is empty; leave the option out" in capsys.readouterr().err


async def test_retry_of_many_rows_shows_its_progress(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await bench.record(*[uuid7() for _ in range(1100)])
    table = bench.outbox.table
    parked = table.update().values(parked_at=datetime.now(UTC), parked_reason="some")

    async def park_all(transaction: Transaction) -> None:
        await transaction.execute(parked)

    await bench.database.run_in_transaction(park_all, deadline=30)
    assert await command(bench, "retry", "--all") == "1100 rows are published next"
    assert capsys.readouterr().err.splitlines() == [f"{count} of 1100 rows" for count in (500, 1000, 1100)]
    await bench.database.run_in_transaction(park_all, deadline=30)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # as on a terminal
    assert await command(bench, "retry", "--all") == "1100 rows are published next"
    bar = capsys.readouterr().err
    assert "100%" in bar
    assert "of 1100 rows" not in bar


@pytest.mark.parametrize("backends", [pytest.param("real", marks=pytest.mark.real)], indirect=True)
async def test_command_may_take_longer_than_a_request(backends: Backends) -> None:
    settings = DatabaseSettings(url=SecretStr(backends.database("operator")), deadline_seconds=0.2)

    async def work(database: Database) -> str:
        async def write(transaction: Transaction) -> str:
            return str((await transaction.execute(text("SELECT SLEEP(0.5)"))).scalar_one())

        return await database.run_in_transaction(write)

    assert await asyncio.to_thread(with_database, settings, work) == "0"


async def test_what_waits_and_what_is_parked_shows_in_metrics(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.outbox.backlog.LOOK_SECONDS", 0.0)
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    nowhere = Publisher(KafkaSettings(bootstrap_servers="127.0.0.1:9"), SILENT, "test-relay")
    relay = Relay(bench.database, bench.outbox.table, nowhere, meter)
    await bench.record(uuid7(), uuid7(), uuid7())
    await command(bench, "park", (await command(bench, "list")).split()[0])

    def figures() -> dict[str, float]:
        data = reader.get_metrics_data()
        assert data
        metrics = data.resource_metrics[0].scope_metrics[0].metrics
        return {metric.name: metric.data.data_points[0].value for metric in metrics}  # type: ignore[union-attr]

    running = asyncio.create_task(relay.run())
    for _ in range(100):
        if (found := figures())["tidings.outbox.unsent"]:
            break
        await asyncio.sleep(0.05)
    assert (found["tidings.outbox.unsent"], found["tidings.outbox.parked"]) == (2, 1)
    age = found["tidings.outbox.oldest_age"]
    assert 0 < age < figures()["tidings.outbox.oldest_age"]  # it grows
    await relay.stop(running, 0.1)


async def test_an_operator_sees_parks_and_retries_rows(bench: Bench) -> None:
    message = uuid7()
    assert await command(bench, "list") == "nothing waits"
    await bench.record(message)
    position = (await command(bench, "list")).split()[0]
    whole = json.loads(await command(bench, "show", position))
    assert whole["headers"]["ce_type"] == "tidings.message.created.v1"
    assert whole["value"]["message_id"] == str(message)
    await command(bench, "park", position)
    assert "parked by an operator" in await command(bench, "list")
    await command(bench, "retry", position)
    assert await command(bench, "list", "--parked") == "nothing waits"
    with pytest.raises(LookupError, match="there is no row 999999"):
        await command(bench, "show", "999999")


async def test_one_of_two_relays_is_at_work_and_the_other_takes_over(bench: Bench) -> None:
    """The first ends without giving its lease back, as a killed process does."""
    first, second = bench.relay, relay_of(bench.database, bench.outbox, bench.kafka)
    running = [asyncio.create_task(first.run())]
    await bench.record(uuid7())
    await bench.until_empty()
    assert await first._lease.hold()
    running.append(asyncio.create_task(second.run()))
    await asyncio.sleep(0.5)
    assert not await second._lease.hold()
    running[0].cancel()
    killed = asyncio.get_running_loop().time()
    await bench.record(uuid7())
    await bench.until_empty()
    assert asyncio.get_running_loop().time() - killed <= 10
    await second.stop(running[1], 2)
    await first.stop(running[0], 1)


async def test_a_relay_that_stops_gives_its_lease_back_at_once(bench: Bench) -> None:
    second = relay_of(bench.database, bench.outbox, bench.kafka)
    running = asyncio.create_task(bench.relay.run())
    await bench.record(uuid7())
    await bench.until_empty()
    assert not await second._lease.hold()
    await bench.relay.stop(running, 2)
    assert await second._lease.hold()


async def test_an_event_that_a_second_relay_publishes_later_is_in_the_trace_of_its_request(
    bench: Bench, backends: Backends
) -> None:
    nowhere = relay_of(bench.database, bench.outbox, KafkaSettings(bootstrap_servers="127.0.0.1:9"))
    first = asyncio.create_task(nowhere.run())
    message, trace_id = uuid7(), uuid7().hex
    request = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", "tracestate": "ours=1", "baggage": "tenant=7"}
    token = attach(context_from(request))
    await bench.record(message)
    detach(token)
    await asyncio.sleep(0.3)
    await nowhere.stop(first, 0.1)

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    second = relay_of(bench.database, bench.outbox, bench.kafka, provider.get_tracer("test"))
    running = asyncio.create_task(second.run())
    await bench.until_empty()
    await second.stop(running, 2)

    (span,) = exporter.get_finished_spans()
    assert span.context is not None
    assert span.parent is not None
    assert (span.kind, f"{span.parent.span_id:016x}") == (SpanKind.PRODUCER, "00f067aa0ba902b7")
    assert span.attributes is not None
    assert span.attributes["tidings.outbox.wait_ms"] >= 300  # type: ignore[operator]  # a number
    (record,) = await records_of(
        backends.kafka, "tidings.messages.v1", lambda record: record.key == str(message).encode(), count=1
    )
    parent = f"00-{trace_id}-{span.context.span_id:016x}-01"
    carried = [(name, text.decode()) for name, text in record.headers if name in request]
    assert carried == [("traceparent", parent), ("tracestate", "ours=1"), ("baggage", "tenant=7")]
