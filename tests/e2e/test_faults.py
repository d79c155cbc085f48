"""Faults on real servers: what was promised survives a broker that stops and a consumer that is killed."""

import json
import signal
from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx
import pytest

from support import kcat
from support.client import Person, eventually
from support.servers import RealServers, require
from support.system import System
from tidings.events import uuid7

REAL = [pytest.param("real", marks=pytest.mark.real)]
pytestmark = [pytest.mark.serial, pytest.mark.parametrize("system", REAL, indirect=True)]


@pytest.fixture
def http(system: System) -> Iterator[httpx.Client]:
    with system.client() as client:
        yield client


def api_request(person: Person, number: int) -> tuple[dict[str, str], bytes]:
    """Return headers and value of a valid event of another team's service."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid4()),
        "ce_source": "billing",
        "ce_type": "tidings.api.request.v1",
        "ce_time": "2026-11-23T01:02:03Z",
        "content-type": "application/json",
    }
    data = {"method": "GET", "route": f"/bills/{number}", "status": 200, "duration_ms": 1.5, "user_id": person.id}
    return headers, json.dumps(data).encode()


def test_posts_are_taken_while_kafka_is_stopped_and_their_events_arrive_once_and_in_order(
    http: httpx.Client, servers: RealServers
) -> None:
    person = Person(http)
    servers.kafka.stop()
    try:
        posted = [person.say(f"while Kafka is away, {number}") for number in range(200)]
    finally:
        servers.kafka.start()
    person.sign_in()

    def stored() -> list[dict[str, object]]:
        return person.log(type="message.created")

    entries = eventually(stored, lambda found: len(found) >= 200, seconds=60)
    assert [entry["event_id"] for entry in entries] == [message["event_id"] for message in reversed(posted)]
    assert len({entry["data"]["message_id"] for entry in entries}) == 200  # type: ignore[index]  # JSON


def test_a_consumer_killed_in_the_middle_stores_every_event_once(
    http: httpx.Client, system: System, servers: RealServers
) -> None:
    person = Person(http)
    headers, value = api_request(person, 1)
    lines = b"\n".join([value] * 5000)
    consumer = system.processes["logs"]
    consumer.signal(signal.SIGSTOP)  # it must not be done before it is killed
    produce_many(servers.kafka.bootstrap, headers, lines)
    consumer.signal(signal.SIGCONT)
    before = eventually(lambda: len(person.log(type="api.request")), lambda count: count > 0, seconds=20)
    consumer.kill()
    consumer.start()
    entries = eventually(
        lambda: [entry for entry in person.log(type="api.request") if entry["service"] == "billing"],
        lambda found: len(found) >= 5000,
        seconds=60,
    )
    assert len(entries) == 5000
    assert len({entry["event_id"] for entry in entries}) == 5000
    assert before < 5000


def test_a_foreign_event_by_kcat_is_listed(http: httpx.Client, servers: RealServers) -> None:
    require("kcat")
    person = Person(http)
    headers, value = api_request(person, 7)
    trace_id = UUID(int=uuid7().int).hex
    headers["traceparent"] = f"00-{trace_id}-00f067aa0ba902b7-01"
    kcat.produce(servers.kafka.bootstrap, "tidings.activity.v1", value, headers)
    (entry,) = eventually(lambda: person.log(trace_id=trace_id), lambda found: len(found) == 1)
    assert (entry["event_id"], entry["service"], entry["route"]) == (headers["ce_id"], "billing", "/bills/7")


def test_a_structured_event_by_kcat_is_listed_in_the_trace_that_it_names(
    http: httpx.Client, servers: RealServers
) -> None:
    require("kcat")
    person = Person(http)
    headers, value = api_request(person, 8)
    trace_id = UUID(int=uuid7().int).hex
    event = {name.removeprefix("ce_"): text for name, text in headers.items() if name.startswith("ce_")}
    event |= {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", "data": json.loads(value)}
    structured = {"content-type": "application/cloudevents+json; charset=utf-8"}
    kcat.produce(servers.kafka.bootstrap, "tidings.activity.v1", json.dumps(event).encode(), structured)
    (entry,) = eventually(lambda: person.log(trace_id=trace_id), lambda found: len(found) == 1)
    assert (entry["event_id"], entry["service"], entry["route"]) == (headers["ce_id"], "billing", "/bills/8")


def test_rubbish_between_good_events_stops_nothing(http: httpx.Client, servers: RealServers, system: System) -> None:
    require("kcat")
    person = Person(http)
    good = []
    bootstrap, topic = servers.kafka.bootstrap, "tidings.activity.v1"
    for number in range(100):
        headers, value = api_request(person, number)
        if number % 20 == 10:
            for kind in range(7):
                rubbish(bootstrap, topic, kind, *api_request(person, number))
        kcat.produce(bootstrap, topic, value, headers)
        good.append(headers["ce_id"])
    entries = eventually(
        lambda: [entry for entry in person.log() if entry["service"] == "billing"],
        lambda found: len(found) >= 100,
        seconds=30,
    )
    assert {entry["event_id"] for entry in entries} == set(good)
    output = system.processes["logs"].output()
    assert output.count("is no event") == 30
    assert output.count("cannot be read: ") == 5


def rubbish(bootstrap: str, topic: str, kind: int, headers: dict[str, str], value: bytes) -> None:
    """Write one of seven kinds of record that are no event, or none of this topic."""
    if kind == 0:
        kcat.produce(bootstrap, topic, b"{not json", headers)
    elif kind == 1:
        kcat.produce(bootstrap, topic, b"hello", {})
    elif kind == 2:
        kcat.produce(bootstrap, topic, b"", headers, tombstone=True)
    elif kind == 3:
        kcat.produce(bootstrap, topic, value, headers | {"ce_id": "no-uuid"})
    elif kind == 4:
        kcat.produce(bootstrap, topic, value, headers, header_key=b"\xff\xfe")
    elif kind == 5:
        created = {"message_id": str(uuid7()), "author_id": str(uuid7()), "author": "mallory", "length": 1}
        misplaced = headers | {"ce_type": "tidings.message.created.v1", "ce_id": str(uuid7())}
        kcat.produce(bootstrap, topic, json.dumps(created).encode(), misplaced)
    else:
        kcat.produce(bootstrap, topic, b"\xff\xfe\x00", headers | {"ce_type": "tidings.unheard.of.v9"})


def produce_many(bootstrap: str, headers: dict[str, str], lines: bytes) -> None:
    """Write many events, each with an id of its own."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "queue.buffering.max.messages": 100_000})
    for line in lines.split(b"\n"):
        producer.produce(
            "tidings.activity.v1", value=line, key="k", headers=list((headers | {"ce_id": str(uuid7())}).items())
        )
    assert producer.flush(30) == 0
