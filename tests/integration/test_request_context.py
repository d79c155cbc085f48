"""Each request starts from a clean context: nothing of an earlier request on its connection reaches it."""

import contextvars
import gc
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context
from sqlalchemy import Engine, event
from starlette.types import Receive, Scope, Send

from support.bare import PARSERS, serving
from support.connection import Connection, connection_to, request_bytes
from support.instance import Instance, running_instance
from support.topic import Offsets, ends_of, records_of
from tidings.connections import Parser
from tidings_local.backends import Backends

LARGE = 300_000
"""More bytes than uvicorn buffers before it pauses reading (64 KiB) and a socket hands over at once (256 KiB)."""

EMOJI = json.dumps({"message": "😀" * 6_000}).encode()
"""72 kB, because JSON may write an emoji as two escapes."""

FIRST_TRACE, SECOND_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
FIRST = {"traceparent": f"00-{FIRST_TRACE}-00f067aa0ba902b7-01", "tracestate": "first=1", "baggage": "tenant=first"}
SECOND = {"traceparent": f"00-{SECOND_TRACE}-b7ad6b7169203331-01", "tracestate": "second=2", "baggage": "tenant=second"}
JSON = {"Content-Type": "application/json"}

Before = Callable[[Connection], Awaitable[None]]


async def large_body(connection: Connection) -> None:
    """Send a body whose rest arrives after the application has begun to read."""
    await connection.ask("POST", "/", {}, b"x" * LARGE)


async def slow_body(connection: Connection) -> None:
    """Send a large body in two pieces."""
    request = request_bytes("POST", "/", {}, b"x" * LARGE)
    connection.writer.write(request[:100_000])
    await connection.writer.drain()
    connection.writer.write(request[100_000:])
    await connection.answer()


async def chunked_body(connection: Connection) -> None:
    """Send a large body in chunks, whose length the server does not know before."""
    connection.writer.write(b"POST / HTTP/1.1\r\nHost: tidings\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.writer.write(f"{LARGE:x}\r\n".encode() + b"x" * LARGE + b"\r\n0\r\n\r\n")
    await connection.answer()


async def expectation(connection: Connection) -> None:
    """Send the body only once the server asks for it."""
    connection.writer.write(
        f"POST / HTTP/1.1\r\nHost: tidings\r\nExpect: 100-continue\r\nContent-Length: {LARGE}\r\n\r\n".encode()
    )
    await connection.answer()
    connection.writer.write(b"x" * LARGE)
    await connection.answer()


async def pipeline(connection: Connection) -> None:
    """Send requests without waiting for the answers: the server pauses reading and resumes in the first one's task."""
    connection.writer.write(request_bytes("POST", "/", {}, b"x") * 20)
    for _ in range(20):
        await connection.answer()


async def large_answer(connection: Connection) -> None:
    """Read a large answer late, so that the server waits for its transport."""
    connection.writer.write(request_bytes("GET", "/large", {}))
    await connection.answer()


BEFORE: list[Before] = [large_body, slow_body, chunked_body, expectation, pipeline, large_answer]


def every_variable() -> set[contextvars.ContextVar[Any]]:
    """Return every context variable of the process: ours, those of OpenTelemetry and of all other libraries."""
    # The collector does not track each of them, and not each of them is an attribute of a module. It does not show
    # those that some test of this process has frozen.
    gc.unfreeze()
    places = [*gc.get_objects(), *(value for module in list(sys.modules.values()) for value in vars(module).values())]
    variables = {value for value in places if isinstance(value, contextvars.ContextVar)}
    assert {"current_context", "current_service"} <= {variable.name for variable in variables}  # OpenTelemetry's, ours
    return variables


class Application:
    """Sets every context variable in each request, and records which ones were set when the request began."""

    def __init__(self) -> None:
        self.seen: list[dict[contextvars.ContextVar[Any], Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        self.seen.append(dict(contextvars.copy_context()))
        context.attach(baggage.set_baggage("tenant", "first"))
        for variable in every_variable():
            variable.set(variable.get(object()))
        while (await receive()).get("more_body"):
            pass
        body = b"y" * (4_000_000 if scope["path"] == "/large" else 1)
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("before", BEFORE, ids=lambda before: before.__name__)
@pytest.mark.parametrize("parser", PARSERS)
async def test_no_context_variable_reaches_the_next_request(before: Before, parser: Parser) -> None:
    application = Application()
    async with serving(application, parser) as url, connection_to(url) as connection:
        await before(connection)
        await connection.ask("GET", "/", {})
        await connection.ask("POST", "/", {}, b"small")
    assert len(application.seen) >= 3
    assert application.seen == [{}] * len(application.seen)


@contextmanager
def recorded_outbox() -> Iterator[list[dict[str, str]]]:
    """Record the trace context of every row that is written into an outbox while the block runs."""
    carriers: list[dict[str, str]] = []

    def record(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if statement.startswith("INSERT INTO outbox "):
            carriers.extend(json.loads(value) for value in parameters if str(value).startswith('{"traceparent"'))

    event.listen(Engine, "before_cursor_execute", record)
    try:
        yield carriers
    finally:
        event.remove(Engine, "before_cursor_execute", record)


def trace_headers(record: Any) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers if name in FIRST}


@pytest.mark.parametrize("parser", PARSERS)
async def test_second_persons_facts_carry_nothing_of_the_first(
    backends: Backends, tmp_path: Path, parser: Parser
) -> None:
    async with running_instance(backends, tmp_path, parser) as instance:
        since = await ends_of(backends.kafka, "tidings.messages.v1", "tidings.activity.v1")
        first, second = await instance.person(), await instance.person()
        async with connection_to(instance.url) as connection:
            with recorded_outbox() as rows:
                large = await connection.ask("POST", "/api/messages", first | FIRST | JSON, EMOJI)
                small = b'{"message": "hello"}'
                own = await connection.ask("POST", "/api/messages", second | SECOND | JSON, small)
                none = await connection.ask("POST", "/api/messages", second | JSON, small)
        assert [answer.status for answer in (large, own, none)] == [201, 201, 201]
        assert [answer.json()["trace_id"] for answer in (large, own)] == [FIRST_TRACE, SECOND_TRACE]
        assert none.json()["trace_id"] not in {FIRST_TRACE, SECOND_TRACE}
        await _assert_carriers(instance, backends, [large, own, none], rows, since)


async def _assert_carriers(
    instance: Instance, backends: Backends, answers: list[Any], rows: list[Any], since: Offsets
) -> None:
    """Compare the trace contexts of the outbox rows and of the Kafka records, facts and activity alike."""
    # Other tests' records in a shared topic may lack what ours have, so nothing of them is decoded.
    event_ids = {answer.json()["event_id"].encode() for answer in answers}
    facts = await records_of(
        backends.kafka, "tidings.messages.v1", lambda record: dict(record.headers).get("ce_id") in event_ids, 3, since
    )
    request_ids = [answer.headers["x-request-id"].encode() for answer in answers]
    activity = await records_of(
        backends.kafka,
        "tidings.activity.v1",
        lambda record: any(request_id in (record.value or b"") for request_id in request_ids),
        3,
        since,
    )
    expected = [FIRST, SECOND, {}]
    for answer, sent in zip(answers, expected, strict=True):
        trace_id = answer.json()["trace_id"]
        (row,) = [row for row in rows if row["traceparent"].split("-")[1] == trace_id]
        fact, call = (
            next(record for record in records if trace_headers(record)["traceparent"].split("-")[1] == trace_id)
            for records in (facts, activity)
        )
        for carrier in (row, trace_headers(fact), trace_headers(call)):
            assert {name: text for name, text in carrier.items() if name != "traceparent"} == {
                name: text for name, text in sent.items() if name != "traceparent"
            }
