"""The journey: one post is one trace, from the call to the store, and can be followed in the log."""

import base64
import json
from collections.abc import Iterator

import httpx
import pytest

from support.client import Person, eventually
from support.collector import Collector, Span
from support.system import System

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
"""Kinds of spans in OTLP."""


@pytest.fixture
def http(system: System) -> Iterator[httpx.Client]:
    with system.client() as client:
        yield client


def test_one_post_is_one_trace_over_every_hop(http: httpx.Client, collector: Collector) -> None:
    person = Person(http)
    trace_id = person.say("하나의 기록")["trace_id"]
    hops = {"POST /api/messages", "post message", "publish tidings.messages.v1", "process tidings.messages.v1"}
    spans = collector.wait_for(
        trace_id,
        lambda found: hops <= {span.name for span in found} and sum(span.name == "store entry" for span in found) == 2,
    )

    def one(service: str, name: str) -> Span:
        (span,) = [span for span in spans if (span.service, span.name) == (service, name)]
        return span

    server = one("tidings-messages", "POST /api/messages")
    business = one("tidings-messages", "post message")
    publish = one("tidings-messages", "publish tidings.messages.v1")
    process = one("tidings-log-consumer", "process tidings.messages.v1")
    stored = [span for span in spans if span.name == "store entry" and span.parent_id == process.span_id]
    statements = [span for span in spans if span.parent_id == business.span_id and span.kind == CLIENT]

    assert server.kind == SERVER
    assert business.parent_id == server.span_id
    assert {span.service for span in statements} == {"tidings-messages"}
    assert sum("INSERT" in span.name for span in statements) == 2  # the message and its event
    assert publish.kind == PRODUCER
    assert publish.parent_id == business.span_id
    assert process.kind == CONSUMER
    assert process.parent_id == publish.span_id
    assert [span.service for span in stored] == ["tidings-log-consumer"]
    assert {span.trace_id for span in spans} == {trace_id}


def test_a_process_span_is_linked_to_its_batch_whose_sql_hangs_under_it(
    http: httpx.Client, collector: Collector
) -> None:
    trace_id = Person(http).say("batch")["trace_id"]
    wanted = "process tidings.messages.v1"
    spans = collector.wait_for(trace_id, lambda found: any(span.name == wanted for span in found))
    (process,) = [span for span in spans if span.name == wanted]
    (batch_id,) = process.links
    found = eventually(
        lambda: [span for span in collector.spans if span.span_id == batch_id or span.parent_id == batch_id],
        lambda spans: len(spans) >= 2,
    )
    assert "ingest batch" in {span.name for span in found}
    assert any("INSERT" in span.name for span in found)


def test_the_callers_own_trace_is_continued(http: httpx.Client, collector: Collector) -> None:
    person = Person(http)
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = person.post(
        "/api/messages",
        json={"message": "continued"},
        headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
    )
    assert answer.headers["x-trace-id"] == answer.json()["trace_id"] == trace_id
    assert answer.headers["traceresponse"].startswith(f"00-{trace_id}-")


def test_of_two_traceparents_neither_is_believed(http: httpx.Client) -> None:
    person = Person(http)
    foreign = ["4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"]
    headers = [("traceparent", f"00-{trace_id}-00f067aa0ba902b7-01") for trace_id in foreign]
    answer = http.post("/api/messages", json={"message": "two"}, headers=[*headers, *person.headers.items()])
    assert answer.status_code == 201
    assert answer.json()["trace_id"] not in foreign


def test_the_entry_is_found_by_its_trace_id_within_two_seconds(http: httpx.Client) -> None:
    person = Person(http)
    message = person.say("find me")
    entries = eventually(lambda: person.log(trace_id=message["trace_id"]), lambda found: len(found) >= 2, seconds=2)
    by_type = {entry["type"]: entry for entry in entries}
    assert set(by_type) == {"message.created", "api.request"}
    created = by_type["message.created"]
    assert created["event_id"] == message["event_id"]
    assert created["data"]["message_id"] == message["id"]
    assert created["service"] == "tidings-messages"
    assert created["occurred_at"] <= created["stored_at"]
    call = by_type["api.request"]
    assert (call["method"], call["route"], call["status"]) == ("POST", "/api/messages", 201)


def test_every_service_tells_of_every_call(http: httpx.Client) -> None:
    person = Person(http)
    person.get("/api/me")
    person.say("one")
    person.get("/api/messages")
    person.get("/api/logs")
    expected = {
        ("tidings-auth", "GET", "/api/me"),
        ("tidings-messages", "POST", "/api/messages"),
        ("tidings-messages", "GET", "/api/messages"),
        ("tidings-log-consumer", "GET", "/api/logs"),
    }

    def told() -> set[tuple[str, str, str]]:
        return {(entry["service"], entry["method"], entry["route"]) for entry in person.log(type="api.request")}

    assert eventually(told, lambda found: found >= expected) >= expected


def test_registering_and_signing_in_are_facts_in_the_log(http: httpx.Client) -> None:
    person = Person(http)
    entries = eventually(person.log, lambda found: {"user.registered", "session.started"} <= {e["type"] for e in found})
    facts = {entry["type"]: entry for entry in entries}
    assert facts["user.registered"]["username"] == person.username
    assert facts["session.started"]["data"]["user_id"] == person.id


def test_the_token_decides_the_author_whatever_the_body_says(http: httpx.Client) -> None:
    mina, other = Person(http), Person(http)
    body = {"message": "mine", "author": other.username, "author_id": other.id, "user_id": other.id}
    message = mina.post("/api/messages", json=body).json()
    assert (message["author"], message["author_id"]) == (mina.username, mina.id)
    listed = next(item for item in mina.get("/api/messages").json()["items"] if item["id"] == message["id"])
    assert (listed["author"], listed["author_id"]) == (mina.username, mina.id)
    entries = eventually(lambda: mina.log(trace_id=message["trace_id"]), lambda found: len(found) >= 2)
    assert {entry["user_id"] for entry in entries} == {mina.id}


def test_a_user_reads_its_own_log_only(http: httpx.Client) -> None:
    mina, other = Person(http), Person(http)
    message = mina.say("mine alone")
    eventually(lambda: mina.log(trace_id=message["trace_id"]), lambda found: len(found) >= 2)
    assert other.log(trace_id=message["trace_id"]) == []
    assert {entry["user_id"] for entry in other.log()} <= {other.id}


def test_a_token_of_somebody_else_is_refused_by_every_service(http: httpx.Client) -> None:
    person = Person(http)
    header, payload, signature = person.token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"role": "admin"}).encode()).decode().rstrip("=")
    for path in ("/api/me", "/api/messages", "/api/logs"):
        answer = http.get(path, headers={"Authorization": f"Bearer {header}.{forged}.{signature}"})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["type"] == "urn:tidings:problem:not-authenticated"


def test_pages_go_through_the_whole_board_once(http: httpx.Client) -> None:
    person = Person(http)
    posted = [person.say(f"page {number}")["id"] for number in range(7)]
    seen: list[str] = []
    path = "/api/messages?limit=3"
    for _ in range(100):
        answer = person.get(path)
        seen += [item["id"] for item in answer.json()["items"]]
        if answer.json()["next_cursor"] is None or set(posted) <= set(seen):
            break
        path = answer.links["next"]["url"]
    mine = [message_id for message_id in seen if message_id in posted]
    assert mine == posted[::-1]
    assert len(seen) == len(set(seen))


def test_a_bad_cursor_is_refused(http: httpx.Client) -> None:
    person = Person(http)
    for path in ("/api/messages", "/api/logs"):
        for cursor in ("x", "!!!!", "AAAA", "한글", "A" * 500):
            answer = person.get(path, params={"cursor": cursor})
            assert answer.status_code == 400, (path, cursor, answer.text)
            assert answer.json()["type"] == "urn:tidings:problem:bad-cursor"
