"""Hostile records: each is parked once with its cause, or is an event after all; every good one between is stored."""

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata
from sqlalchemy import text

from support import kcat
from support.instance import Instance, running_instance
from support.servers import require
from support.topic import records_of
from tidings.events import uuid7
from tidings_local.backends import Backends

TOPIC = "tidings.activity.v1"
Headers = list[tuple[str, bytes | None]]
DATA: dict[str, Any] = {"method": "GET", "route": "/bills", "status": 200, "duration_ms": 1.5}


@dataclass
class Draft:
    """A record before it is sent: a good event, until a kind of hostility changes it."""

    key: bytes | None
    value: bytes | None
    headers: Headers

    def with_header(self, name: str, text: bytes | None) -> "Draft":
        """Give a header another value."""
        self.headers = [(other, text if other == name else old) for other, old in self.headers]
        return self

    def without(self, name: str) -> "Draft":
        """Leave a header out."""
        self.headers = [(other, old) for other, old in self.headers if other != name]
        return self

    def plus(self, *headers: tuple[str, bytes | None]) -> "Draft":
        """Add headers."""
        self.headers += headers
        return self

    def saying(self, value: bytes | None) -> "Draft":
        """Carry another value."""
        self.value = value
        return self

    def with_data(self, **changes: Any) -> "Draft":
        """Change fields of the data."""
        assert self.value
        return self.saying(json.dumps(json.loads(self.value) | changes).encode())

    def structured(self, **changes: Any) -> "Draft":
        """Say the same in structured mode; an attribute that is changed to null is not there."""
        assert self.value
        attributes = {name.removeprefix("ce_"): (text or b"").decode() for name, text in self.headers}
        event = attributes | {"data": json.loads(self.value)} | changes
        return self.with_header("content-type", b"application/cloudevents+json").saying(json.dumps(event).encode())


def good(user: str) -> Draft:
    """Return a good event of the user's."""
    headers: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(uuid7()).encode()),
        ("ce_source", b"billing"),
        ("ce_type", b"tidings.api.request.v1"),
        ("ce_time", b"2026-11-23T01:02:03Z"),
        ("content-type", b"application/json"),
    ]
    return Draft(key=user.encode(), value=json.dumps(DATA | {"user_id": user}).encode(), headers=headers)


PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CREATED = b"tidings.message.created.v1"

# What each kind does to a good event, and a part of the cause that its dead letter must give.
POISON: dict[str, tuple[Callable[[Draft], Draft], str]] = {
    "tombstone": (lambda it: it.saying(None), "no value"),
    "empty value": (lambda it: it.saying(b""), "json_invalid"),
    "not JSON": (lambda it: it.saying(b"hello"), "json_invalid"),
    "cut JSON": (lambda it: it.saying(it.value and it.value[:-5]), "json_invalid"),
    "JSON and more": (lambda it: it.saying((it.value or b"") + b"x"), "json_invalid"),
    "JSON 100,000 deep": (lambda it: it.saying(b"[" * 100_000), "json_invalid"),
    "object 100,000 deep in an unknown field": (
        lambda it: it.saying(b'{"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001),
        "json_invalid",
    ),
    "UTF-16": (lambda it: it.saying((it.value or b"").decode().encode("utf-16")), "json_invalid"),
    "byte order mark": (lambda it: it.saying(b"\xef\xbb\xbf" + (it.value or b"")), "json_invalid"),
    "not UTF-8 within": (lambda it: it.saying((it.value or b"").replace(b"GET", b"\xff\xfe")), "json_invalid"),
    "lone surrogate": (lambda it: it.saying((it.value or b"").replace(b"GET", b"\\ud800")), "json_invalid"),
    "a list": (lambda it: it.saying(b"[]"), "model_type"),
    "a null": (lambda it: it.saying(b"null"), "model_type"),
    "a number": (lambda it: it.saying(b"1e999"), "model_type"),
    "status as text": (lambda it: it.with_data(status="200"), "status: int_type"),
    "status as truth": (lambda it: it.with_data(status=True), "status: int_type"),
    "status out of range": (lambda it: it.with_data(status=99), "status: greater_than_equal"),
    "status enormous": (lambda it: it.with_data(status=10**4000), "status"),
    "duration not a number": (lambda it: it.saying((it.value or b"").replace(b"1.5", b"NaN")), "json_invalid"),
    "duration too large": (
        lambda it: it.saying((it.value or b"").replace(b"1.5", b"1e999")),
        "duration_ms: finite_number",
    ),
    "duration negative": (lambda it: it.with_data(duration_ms=-1), "duration_ms: greater_than_equal"),
    "no status": (lambda it: it.saying(b'{"method":"GET","duration_ms":1}'), "status: missing"),
    "900 KB in a field": (lambda it: it.with_data(method="x" * 900_000), "method: string_too_long"),
    "user that is no id": (lambda it: it.with_data(user_id="mina"), "user_id: is not a UUID"),
    "no ce_specversion": (lambda it: it.without("ce_specversion"), "ce_specversion"),
    "no ce_id": (lambda it: it.without("ce_id"), "ce_id is missing"),
    "no ce_source": (lambda it: it.without("ce_source"), "ce_source is missing"),
    "no ce_type": (lambda it: it.without("ce_type"), "ce_type is missing"),
    "no ce_time": (lambda it: it.without("ce_time"), "ce_time is missing"),
    "no headers": (lambda it: Draft(it.key, it.value, []), "ce_specversion"),
    "null ce_id": (lambda it: it.with_header("ce_id", None), "ce_id is missing"),
    "spec of the past": (lambda it: it.with_header("ce_specversion", b"0.3"), "ce_specversion is not 1.0"),
    "id of 10 kB": (lambda it: it.with_header("ce_id", b"x" * 10_000), "id: is not a UUID"),
    "id not UTF-8": (lambda it: it.with_header("ce_id", b"\xff"), "ce_id is not UTF-8"),
    "unknown type": (lambda it: it.with_header("ce_type", b"tidings.unheard.of.v1"), "ce_type"),
    "unknown version": (lambda it: it.with_header("ce_type", b"tidings.api.request.v99"), "ce_type"),
    "type in capitals": (lambda it: it.with_header("ce_type", b"TIDINGS.API.REQUEST.V1"), "ce_type"),
    "type of another topic": (
        lambda it: it.with_header("ce_type", CREATED).with_data(
            message_id=str(uuid7()), author_id=str(uuid7()), author="mallory", length=1
        ),
        "belong into tidings.messages.v1",
    ),
    "time that is none": (lambda it: it.with_header("ce_time", b"yesterday"), "time: is not a date"),
    "time in seconds": (lambda it: it.with_header("ce_time", b"1700000000"), "time: is not a date"),
    "time without zone": (lambda it: it.with_header("ce_time", b"2026-11-23T01:02:03"), "time: is not a date"),
    "year 10000": (lambda it: it.with_header("ce_time", b"10000-01-01T00:00:00Z"), "time: "),
    "year 9999 that is 10000 in UTC": (lambda it: it.with_header("ce_time", b"9999-12-31T23:59:59-12:00"), "time: "),
    "empty source": (lambda it: it.with_header("ce_source", b""), "source: string_too_short"),
    "source of 300": (lambda it: it.with_header("ce_source", b"x" * 300), "source: string_too_long"),
    "sequence negative": (lambda it: it.plus(("ce_sequence", b"-1")), "sequence: is not a number"),
    "sequence that is none": (lambda it: it.plus(("ce_sequence", b"first")), "sequence: is not a number"),
    "content type of text": (lambda it: it.with_header("content-type", b"text/plain"), "content-type is neither"),
    "content type of Avro, value too": (
        lambda it: it.with_header("content-type", b"application/cloudevents+avro").saying(b"\x00Obj\x01"),
        "content-type is neither",
    ),
    "content type of a batch": (
        lambda it: Draft(it.key, b"[]", [("content-type", b"application/cloudevents-batch+json")]),
        "content-type is neither",
    ),
    "content type in UTF-16": (
        lambda it: it.with_header("content-type", b"application/json; charset=utf-16").saying(b"\xff\xfe{\x00}\x00"),
        "application/json nor application/cloudevents+json in UTF-8",
    ),
    "structured in UTF-16": (
        lambda it: it.structured().with_header("content-type", b"application/cloudevents+json; charset=utf-16"),
        "content-type is neither",
    ),
    "content type not UTF-8": (lambda it: it.with_header("content-type", b"\xff"), "content-type is not UTF-8"),
    "unknown type, value not JSON": (lambda it: it.with_header("ce_type", b"other").saying(b"hello"), "ce_type"),
    "structured, no data": (lambda it: it.structured(data=None), "the event has no data"),
    "NaN in an unknown field": (lambda it: it.saying(b'{"x": NaN, ' + (it.value or b"")[1:]), "json_invalid"),
    "NaN beside a secret": (
        lambda it: it.saying(b'{"password": "x", "x": NaN, ' + (it.value or b"")[1:]),
        "json_invalid",
    ),
    "status with a fraction": (lambda it: it.with_data(status=200.5), "status: int_type"),
    "user id without hyphens": (lambda it: it.with_data(user_id=uuid7().hex), "user_id: is not a UUID"),
    "id in braces": (lambda it: it.with_header("ce_id", f"{{{uuid7()}}}".encode()), "id: is not a UUID"),
    "spec of the future": (lambda it: it.with_header("ce_specversion", b"2.0"), "ce_specversion is not 1.0"),
    "hour 24": (lambda it: it.with_header("ce_time", b"2026-11-23T24:00:00Z"), "time: is not a date"),
    "year 0": (lambda it: it.with_header("ce_time", b"0000-01-01T00:00:00Z"), "time: is not a moment"),
    "leap second within a day": (lambda it: it.with_header("ce_time", b"2016-12-31T12:00:60Z"), "second 60"),
    "structured, not JSON": (lambda it: it.structured().saying(b"hello"), "not a JSON object"),
    "structured, 100,000 deep": (lambda it: it.structured().saying(b'{"data":' * 100_000), "not a JSON object"),
    "structured, tombstone": (lambda it: it.structured().saying(None), "no value"),
    "structured, no id": (lambda it: it.structured(id=None), "ce_id is missing"),
    "structured, id a number": (lambda it: it.structured(id=7), "id is not a string"),
    "structured, data of text": (lambda it: it.structured(datacontenttype="text/plain"), "datacontenttype"),
    "structured, data twice": (lambda it: it.structured(data_base64="e30="), "both data and data_base64"),
    "sequence of 5,000 digits": (lambda it: it.plus(("ce_sequence", b"9" * 5000)), "sequence: "),
}

# Odd, and still events: what is odd about them is not what the log keeps.
ODD: dict[str, Callable[[Draft], Draft]] = {
    "no key": lambda it: Draft(None, it.value, it.headers),
    "key not UTF-8": lambda it: Draft(b"\xff\x00", it.value, it.headers),
    "key of 100 kB": lambda it: Draft(b"k" * 100_000, it.value, it.headers),
    "status with a fraction of zero": lambda it: it.with_data(status=200.0),
    "status with an exponent": lambda it: it.saying((it.value or b"").replace(b"200", b"2e2")),
    "user id in capitals": lambda it: it.with_data(user_id=json.loads(it.value or b"")["user_id"].upper()),
    "leap second": lambda it: it.with_header("ce_time", b"2016-12-31T23:59:60Z"),
    "last leap second": lambda it: it.with_header("ce_time", b"9999-12-31T23:59:60.5Z"),
    "time in small letters": lambda it: it.with_header("ce_time", b"2026-11-23t01:02:03z"),
    "time in nanoseconds": lambda it: it.with_header("ce_time", b"2026-11-23T01:02:03.123456789-00:00"),
    "content type in capitals": lambda it: it.with_header("content-type", b"APPLICATION/JSON; Charset=UTF-8"),
    "two content types": lambda it: it.plus(("content-type", b"application/cloudevents+avro")),
    "no content type": lambda it: it.without("content-type"),
    "structured mode": lambda it: it.structured(),
    "structured mode, traced inside": lambda it: it.structured(traceparent=PARENT.decode(), tracestate="a=1"),
    "structured mode, malformed trace inside": lambda it: it.structured(traceparent=[7], tracestate={}),
    "structured mode, base64": lambda it: it.structured(data=None, data_base64=b64encode(it.value or b"").decode()),
    "two traceparents": lambda it: it.plus(("traceparent", PARENT), ("traceparent", PARENT)),
    "traceparent not ASCII": lambda it: it.plus(("traceparent", b"\xff\xfe")),
    "traceparent null": lambda it: it.plus(("traceparent", None)),
    "tracestate of 10 kB": lambda it: it.plus(("traceparent", PARENT), ("tracestate", b"a=" + b"x" * 10_000)),
    "baggage of 20 kB": lambda it: it.plus(("traceparent", PARENT), ("baggage", b"a=" + b"x" * 20_000)),
    "other header not UTF-8": lambda it: it.plus(("theirs", b"\xff")),
    "1,000 headers": lambda it: it.plus(*((f"h{number}", b"x") for number in range(1000))),
    "second ce_id": lambda it: it.plus(("ce_id", b"another")),
    "year 9999": lambda it: it.with_header("ce_time", b"9999-12-31T23:59:59Z"),
    "year 1": lambda it: it.with_header("ce_time", b"0001-01-01T00:00:00Z"),
    "NUL in a text": lambda it: it.with_data(route="/a\x00b"),
    "emoji in a text": lambda it: it.with_data(route="/\U0001f600" * 100),
    "900 KB in an unknown field": lambda it: it.with_data(theirs="x" * 900_000),
    "a field twice": lambda it: it.saying((it.value or b"").replace(b'"status": 200', b'"status": 1, "status": 200')),
    "bytes of 4,000 digits": lambda it: it.with_data(response_bytes=10**3999),
}


@pytest.fixture
async def instance(backends: Backends, tmp_path: Path) -> AsyncIterator[Instance]:
    async with running_instance(backends, tmp_path) as running:
        yield running


class Sender:
    """Sends drafts into one partition, each between two good events."""

    def __init__(self, producer: AIOKafkaProducer, user: str) -> None:
        self._producer = producer
        self.user = user
        self.good: set[str] = set()
        """Ids of the events that must be stored."""
        self.first_offset = -1

    async def send(self, draft: Draft, topic: str = TOPIC) -> RecordMetadata:
        """Send one."""
        sent: RecordMetadata = await self._producer.send_and_wait(
            topic, draft.value, key=draft.key, headers=draft.headers, partition=0
        )
        self.first_offset = sent.offset if self.first_offset < 0 else self.first_offset
        return sent

    async def send_good(self, change: Callable[[Draft], Draft] = lambda draft: draft) -> None:
        """Send an event that must be stored."""
        draft = change(good(self.user))
        self.good.add(next(text.decode() for name, text in draft.headers if name == "ce_id" and text))
        await self.send(draft)


@pytest.fixture
async def sender(instance: Instance, backends: Backends) -> AsyncIterator[tuple[Sender, dict[str, str]]]:
    """A sender, and the headers of the person whose log shows what it sent."""
    me = await instance.person()
    user: str = (await instance.http.get("/api/me", headers=me)).json()["id"]
    async with AIOKafkaProducer(
        bootstrap_servers=backends.kafka, acks="all", max_request_size=2**21, enable_idempotence=True
    ) as producer:
        yield Sender(producer, user), me


async def stored_ids(instance: Instance, me: dict[str, str], wanted: set[str]) -> set[str]:
    """Return which of the `wanted` events the log has, once it has all or after a while."""
    found: set[str] = set()
    for _ in range(150):
        path = "/api/logs?limit=100"
        while True:
            page = (await instance.http.get(path, headers=me)).json()
            found |= {entry["event_id"] for entry in page["items"]}
            if not page["next_cursor"]:
                break
            path = f"/api/logs?limit=100&cursor={page['next_cursor']}"
        if wanted <= found:
            break
        await asyncio.sleep(0.2)
    return found & wanted


async def own_letters(backends: Backends, outlet: Sender, count: int) -> list[Any]:
    """Return the dead letters that this test's own group wrote of this test's own records: all, at least `count`."""
    group = os.environ["TIDINGS_CONSUMER_GROUP"].encode()

    def own(letter: Any) -> bool:
        headers = dict(letter.headers)
        mine = headers["tidings_dlq_partition"] == b"0" and int(headers["tidings_dlq_offset"]) >= outlet.first_offset
        return mine and bool(headers["tidings_dlq_group"] == group)

    await records_of(backends.kafka, f"{TOPIC}.dlq", own, count)
    return await records_of(backends.kafka, f"{TOPIC}.dlq", own)


async def test_each_is_parked_once_with_its_cause_and_nothing_else_is_lost(
    instance: Instance, backends: Backends, sender: tuple[Sender, dict[str, str]]
) -> None:
    outlet, me = sender
    originals: dict[int, tuple[str, Draft]] = {}
    await outlet.send_good()
    for name, (change, _) in POISON.items():
        draft = change(good(outlet.user))
        originals[(await outlet.send(draft)).offset] = (name, draft)
        await outlet.send_good()
    for change_odd in ODD.values():
        await outlet.send_good(change_odd)
        await outlet.send_good()
    assert await stored_ids(instance, me, outlet.good) == outlet.good

    letters = await own_letters(backends, outlet, len(POISON))
    assert len(letters) == len(POISON) >= 40
    wrong = []
    for letter in letters:
        headers = dict(letter.headers)
        name, draft = originals.pop(int(headers["tidings_dlq_offset"]))
        cause = headers["tidings_dlq_cause"].decode()
        if POISON[name][1] not in cause:
            wrong.append((name, cause))
        untouched = [header for header in letter.headers if not header[0].startswith("tidings_dlq_")]
        assert untouched == draft.headers, name
        assert (letter.key, letter.value) == (draft.key, draft.value), name
        assert (headers["tidings_dlq_topic"], headers["tidings_dlq_partition"]) == (TOPIC.encode(), b"0")
    assert wrong == []
    assert (await instance.http.get("/health/live")).status_code == 200


async def test_what_the_database_refuses_is_parked_and_the_rest_of_its_batch_is_stored(
    instance: Instance, backends: Backends, sender: tuple[Sender, dict[str, str]]
) -> None:
    """As after a column became too short for a contract, which no check of ours has seen."""
    outlet, me = sender
    engine = instance.states["logs"]["reading"]._database.engine
    refusal = {
        "mysql": "ALTER TABLE entries MODIFY method VARCHAR(7)",
        "sqlite": "CREATE TRIGGER refusal BEFORE INSERT ON entries WHEN NEW.method = 'TOO-LONG' "
        "BEGIN SELECT RAISE(ABORT, 'refused'); END",
    }
    async with engine.begin() as connection:
        await connection.execute(text(refusal[engine.dialect.name]))
    for number in range(30):
        if number % 10 == 5:
            await outlet.send(good(outlet.user).with_data(method="TOO-LONG"))
        await outlet.send_good()
    assert await stored_ids(instance, me, outlet.good) == outlet.good
    letters = await own_letters(backends, outlet, 3)
    causes = [dict(letter.headers)["tidings_dlq_cause"] for letter in letters]
    assert {cause.rpartition(b":")[0] for cause in causes} == {b"the database refuses it"}
    assert len(causes) == 3


async def test_an_id_that_comes_again_with_another_body_changes_nothing(
    instance: Instance, sender: tuple[Sender, dict[str, str]]
) -> None:
    outlet, me = sender
    first = good(outlet.user)
    again = Draft(first.key, first.value, list(first.headers)).with_data(route="/changed")
    outlet.good.add(str(UUID((dict(first.headers)["ce_id"] or b"").decode())))
    await outlet.send(first)
    await outlet.send(again)
    await outlet.send_good()
    assert await stored_ids(instance, me, outlet.good) == outlet.good
    routes = [entry["route"] for entry in (await instance.http.get("/api/logs?limit=100", headers=me)).json()["items"]]
    assert "/changed" not in routes
    assert routes.count("/bills") == 2


async def entries_of(instance: Instance, me: dict[str, str], event_id: UUID) -> list[dict[str, Any]]:
    """Return the entries of an event id, read in pages of one entry."""
    found: list[dict[str, Any]] = []
    path = first = "/api/logs?limit=1"
    while path:
        page = (await instance.http.get(path, headers=me)).json()
        found += [entry for entry in page["items"] if entry["event_id"] == str(event_id)]
        path = page["next_cursor"] and f"{first}&cursor={page['next_cursor']}"
    return found


SOURCES = [
    "billing",
    "Billing",
    "billing ",
    "bílling",
    "billing/\U0001f600",
    "billing/\U0001f601",
    "billing\x00",
    "b" * 255,
]


async def test_equal_ids_of_different_sources_are_different_events(
    instance: Instance, sender: tuple[Sender, dict[str, str]]
) -> None:
    """All happened at the same moment, too, so that pages can only tell them apart by their order."""
    outlet, me = sender
    event_id = uuid7()
    for _ in range(2):
        for source in SOURCES:
            draft = good(outlet.user).with_header("ce_id", str(event_id).encode())
            await outlet.send(draft.with_header("ce_source", source.encode()))
    await outlet.send_good()
    assert await stored_ids(instance, me, outlet.good) == outlet.good
    found = await entries_of(instance, me, event_id)
    assert sorted(entry["service"] for entry in found) == sorted(SOURCES)


async def test_id_and_source_stolen_in_another_topic_do_not_suppress_a_fact(
    instance: Instance, sender: tuple[Sender, dict[str, str]]
) -> None:
    """Kafka grants the right to write by topic: who may only write activity must not keep a fact out of the log."""
    outlet, me = sender
    fact = good(outlet.user).with_header("ce_source", b"tidings-auth")
    event_id = UUID((dict(fact.headers)["ce_id"] or b"").decode())
    await outlet.send(fact)
    await outlet.send_good()
    assert await stored_ids(instance, me, outlet.good) == outlet.good

    fact.with_header("ce_type", b"tidings.user.disabled.v1").saying(
        json.dumps({"user_id": outlet.user, "username": "mina"}).encode()
    )
    for _ in range(2):
        await outlet.send(fact, "tidings.auth.v1")
    later = Draft(fact.key, fact.value, list(fact.headers)).with_header("ce_id", str(uuid7()).encode())
    await outlet.send(later, "tidings.auth.v1")
    sentinel = dict(later.headers)["ce_id"] or b""
    assert await stored_ids(instance, me, {sentinel.decode()})
    found = await entries_of(instance, me, event_id)
    assert sorted(entry["type"] for entry in found) == ["api.request", "user.disabled"]


async def test_event_by_kcat_is_kept_as_the_documents_say(
    instance: Instance, backends: Backends, sender: tuple[Sender, dict[str, str]]
) -> None:
    require("kcat")
    outlet, me = sender
    event_id = uuid7()
    draft = good(outlet.user).with_header("ce_id", str(event_id).upper().encode())
    draft.with_header("ce_time", b"2016-12-31t15:59:60.5-08:00").with_header(
        "content-type", b"Application/JSON;charset=utf-8"
    )
    headers = {name: (text or b"").decode() for name, text in draft.headers}
    value = (draft.value or b"").replace(b"200", b"2.000e2")
    await asyncio.to_thread(kcat.produce, backends.kafka, TOPIC, value, headers)
    assert await stored_ids(instance, me, {str(event_id)})
    (entry,) = await entries_of(instance, me, event_id)
    assert (entry["status"], entry["data"]["status"]) == (200, 200)
    assert entry["occurred_at"] == "2016-12-31T23:59:59.999999Z"


async def test_same_event_in_both_modes_is_stored_once(
    instance: Instance, sender: tuple[Sender, dict[str, str]]
) -> None:
    outlet, me = sender
    first = good(outlet.user)
    event_id = UUID((dict(first.headers)["ce_id"] or b"").decode())
    again = Draft(first.key, first.value, list(first.headers)).structured(id=str(event_id).upper())
    await outlet.send(first)
    await outlet.send(again)
    await outlet.send_good()
    assert await stored_ids(instance, me, outlet.good) == outlet.good
    assert len(await entries_of(instance, me, event_id)) == 1


async def test_header_keys_that_are_no_text_are_stepped_over(
    instance: Instance, backends: Backends, sender: tuple[Sender, dict[str, str]]
) -> None:
    require("kcat")
    outlet, me = sender
    for key in (b"\xff\xfe", b"\xc3\x28", b"ce_\xff"):
        await outlet.send_good()
        headers = {name: (text or b"").decode() for name, text in good(outlet.user).headers}
        await asyncio.to_thread(kcat.produce, backends.kafka, TOPIC, b"{}", headers, header_key=key, partition=0)
        await outlet.send_good()
    assert await stored_ids(instance, me, outlet.good) == outlet.good
    letters = await own_letters(backends, outlet, 3)
    assert {dict(letter.headers)["tidings_dlq_cause"] for letter in letters} == {b"unreadable: UnicodeDecodeError"}
