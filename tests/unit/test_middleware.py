"""Middleware: what every answer carries, what every call leaves behind, and what neither says."""

import asyncio
import hmac
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import StreamingResponse
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from tidings.http.app import create_service
from tidings.http.bearer import CurrentUser
from tidings.http.health import Health
from tidings.http.middleware import SECURITY_HEADERS, BodyLimit
from tidings.principal import Principal
from tidings.telemetry.logs import current_service
from tidings.telemetry.setup import Telemetry
from unit.fakes import EmittedActivity, client

USER = UUID("018f0000-0000-7000-8000-000000000001")
ADDRESS = "203.0.113.7"
ADDRESS_KEY = "0123456789abcdef"


class OneToken:
    async def verify(self, token: str) -> Principal:
        return Principal(USER, "mina", "user", USER)


public = APIRouter()
private = APIRouter()


@public.get("/items/{number}")
async def item(number: int) -> str:
    return current_service.get()


@public.get("/broken")
async def broken() -> None:
    raise RuntimeError("what is wrong inside")


@public.get("/broken-later")
async def broken_later() -> StreamingResponse:
    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("what is wrong inside")

    return StreamingResponse(half())


@public.get("/own-headers")
async def own_headers(response: Response) -> None:
    response.headers["Cache-Control"] = "public"
    response.headers["Content-Security-Policy"] = "default-src 'self'"


@private.get("/mine")
async def mine(caller: CurrentUser) -> str:
    return caller.username


@asynccontextmanager
async def nothing(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {}


SPANS = InMemorySpanExporter()
METRICS = InMemoryMetricReader()
TELEMETRY = Telemetry("tidings-test", metric_readers=[METRICS])
TELEMETRY.tracer_provider.add_span_processor(SimpleSpanProcessor(SPANS))
APP = create_service(
    name="test",
    summary="A service for tests.",
    public_url="/",
    address_key=ADDRESS_KEY,
    telemetry=TELEMETRY,
    lifespan=nothing,
    public_routers=[public],
    routers=[private],
)

PATHS = {
    "/items/1": 200,
    "/items/x": 422,
    "/nothing": 404,
    "/broken": 500,
    "/mine": 401,
    "/health/live": 200,
    "/health/ready": 200,
    "/docs": 200,
    "/docs/events": 200,
    "/asyncapi.json": 200,
    "/openapi.json": 200,
}
KEPT_WITH_CARE = {"/docs", "/docs/events", "/asyncapi.json"}
"""They may be kept, but not used without asking."""


async def call(path: str, method: str = "GET", **headers: str) -> tuple[httpx.Response, list[Any]]:
    activity = EmittedActivity()
    async with client(APP, activity=activity, health=Health(), verifier=OneToken()) as http:
        return await http.request(method, path, headers=headers), activity.events


async def raw_call(scope: dict[str, Any]) -> tuple[list[Message], EmittedActivity]:
    """Call the application below any client, with a scope that a server could not refuse."""
    activity = EmittedActivity()
    sent: list[Message] = []
    body: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]
    full: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/items/1",
        "query_string": b"",
        "headers": [],
        "client": None,
        "server": ("tidings.test", 80),
        "state": {"activity": activity, "health": Health()},
    } | scope

    async def receive() -> Message:
        if sent or not body:
            await asyncio.Event().wait()  # a caller that stays and sends no more
        return body.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await APP(full, receive, send)
    return sent, activity


def header(sent: list[Message], name: str) -> str:
    headers: list[tuple[bytes, bytes]] = sent[0]["headers"]
    (value,) = [value for key, value in headers if key.decode().lower() == name]
    return value.decode()


@pytest.mark.parametrize("given_id", ["abc", "A-Z._:-0", "x" * 128, "018f0000-0000-7000-8000-000000000001"])
async def test_a_sane_request_id_is_taken(given_id: str) -> None:
    answer, (event,) = await call("/items/1", **{"X-Request-Id": given_id})
    assert answer.headers["x-request-id"] == event.request_id == given_id


@pytest.mark.parametrize(
    "given_id", [b"", b"x" * 129, b"a b", b"a\nb", b"abc\n", b"\r\nx: y", b"a;b", b"<b>", "가".encode(), b"\xff", b"\0"]
)
async def test_any_other_request_id_is_replaced(given_id: bytes) -> None:
    sent, activity = await raw_call({"headers": [(b"x-request-id", given_id)]})
    made = header(sent, "x-request-id")
    assert "\n" not in made
    assert UUID(made).version == 7
    assert activity.events[0].request_id == made


async def test_a_request_without_id_gets_one_of_its_own() -> None:
    first, second = (await call("/items/1"))[0], (await call("/items/1"))[0]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize(("path", "status"), PATHS.items())
async def test_every_answer_has_a_request_id_and_the_security_headers(path: str, status: int) -> None:
    answer, _ = await call(path)
    assert answer.status_code == status
    assert answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == ("no-cache" if path in KEPT_WITH_CARE else "no-store")


async def test_what_an_answer_says_itself_is_not_overwritten() -> None:
    answer, _ = await call("/own-headers")
    assert answer.headers.get_list("cache-control") == ["public"]
    assert answer.headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert answer.headers["x-frame-options"] == SECURITY_HEADERS["X-Frame-Options"]


@pytest.mark.parametrize("path", ["/items/1", "/items/x", "/nothing", "/broken", "/mine"])
async def test_every_answer_of_the_api_names_its_trace(path: str) -> None:
    answer, _ = await call(path)
    version, trace_id, span_id, flags = answer.headers["traceresponse"].split("-")
    assert version == "00"
    assert int(flags, 16) & 1
    assert trace_id == answer.headers["x-trace-id"]
    assert (len(trace_id), len(span_id)) == (32, 16)


async def test_a_trace_goes_on_where_the_caller_began_it() -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer, _ = await call("/items/1", traceparent=f"00-{trace_id}-00f067aa0ba902b7-01")
    assert answer.headers["x-trace-id"] == trace_id


async def test_the_code_of_a_request_knows_its_service() -> None:
    answer, _ = await call("/items/1")
    assert answer.json() == "tidings-test"


@pytest.mark.parametrize(
    ("method", "path", "status", "route"),
    [
        ("GET", "/items/1", 200, "/items/{number}"),
        ("GET", "/items/x", 422, "/items/{number}"),
        ("DELETE", "/items/1", 405, "/items/{number}"),
        ("GET", "/nothing/secret-path", 404, None),
        ("GET", "/broken", 500, "/broken"),
        ("GET", "/mine", 401, "/mine"),
        ("BREW", "/items/1", 405, "/items/{number}"),
    ],
)
async def test_every_call_leaves_one_event_with_its_route_and_status(
    method: str, path: str, status: int, route: str | None
) -> None:
    answer, (event,) = await call(path, method)
    assert answer.status_code == status
    assert (event.method, event.route, event.status) == (method, route, status)
    assert event.response_bytes == len(answer.content)
    assert 0 < event.duration_ms < 5_000
    assert (event.user_id, event.username) == (None, None)
    assert "secret-path" not in event.model_dump_json()


@pytest.mark.parametrize(("path", "status"), {**PATHS, "/own-headers": 200, "/broken-later": 200}.items())
async def test_head_answers_as_get_without_content(path: str, status: int) -> None:
    own = {"x-request-id", "x-trace-id", "traceresponse", "content-length"}
    (get, _), (head, _) = await call(path), await call(path, "HEAD")
    assert head.status_code == get.status_code == status
    assert head.content == b""
    for answer in (get, head):
        assert answer.headers.keys() >= own - {"x-trace-id", "traceresponse", "content-length"}
    assert [pair for pair in head.headers.items() if pair[0] not in own] == [
        pair for pair in get.headers.items() if pair[0] not in own
    ]
    if status == 200 and path != "/broken-later":
        assert head.headers["content-length"] == str(len(get.content))


async def test_head_is_recorded_as_head() -> None:
    SPANS.clear()
    _, (event,) = await call("/items/1", "HEAD")
    assert (event.method, event.route, event.status, event.response_bytes) == ("HEAD", "/items/{number}", 200, 0)
    assert [span.name for span in SPANS.get_finished_spans()] == ["HEAD /items/{number}"]


async def test_head_of_a_signed_in_caller_names_the_caller() -> None:
    _, (event,) = await call("/mine", "HEAD", Authorization="Bearer token")
    assert (event.method, event.username) == ("HEAD", "mina")


async def test_head_is_no_operation_of_the_api_document() -> None:
    document = (await call("/openapi.json"))[0].json()
    assert {method for methods in document["paths"].values() for method in methods} == {"get"}


async def test_a_signed_in_caller_is_named() -> None:
    answer, (event,) = await call("/mine", Authorization="Bearer token")
    assert answer.status_code == 200
    assert (event.user_id, event.username) == (USER, "mina")


@pytest.mark.parametrize(
    "path",
    [
        "/health/live",
        "/health/ready",
        "/docs",
        "/docs/assets/docs.js",
        "/docs/events",
        "/openapi.json",
        "/asyncapi.json",
    ],
)
async def test_what_operators_poll_is_no_activity(path: str) -> None:
    _, events = await call(path)
    assert events == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/docs/assets/none.js", 404),
        ("GET", "/openapi/none.json", 404),
        ("GET", "/metrics", 404),
        ("PUT", "/docs", 405),
        ("POST", "/health/ready", 405),
    ],
)
async def test_refusal_beside_polled_paths_is_activity(method: str, path: str, status: int) -> None:
    answer, events = await call(path, method)
    assert answer.status_code == status
    assert [(event.method, event.status) for event in events] == [(method, status)]


async def test_poll_of_a_service_that_is_not_ready_is_no_activity() -> None:
    activity = EmittedActivity()
    async with client(APP, activity=activity, health=Health(died=["relay"]), verifier=OneToken()) as http:
        assert [(await http.get(f"/health/{path}")).status_code for path in ("live", "ready")] == [503, 503]
    assert activity.events == []


@pytest.mark.parametrize(
    "path",
    [
        "/healthy",
        "/health/nothing",
        "/health/live/x",
        "/docsx",
        "/docs/api/x",
        "/docs/events/x",
        "/docs/eventsx",
        "/api.json",
        "/metricsx",
        "/openapi.jsonx",
        "/x/docs",
    ],
)
async def test_a_path_that_only_looks_like_a_management_path_is_activity(path: str) -> None:
    answer, events = await call(path)
    assert answer.status_code == 404
    assert [event.status for event in events] == [404]


async def test_an_unknown_asset_is_a_problem_too() -> None:
    answer, _ = await call("/docs/assets/none.js")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"]


async def test_the_callers_address_is_hashed_with_the_key_and_nowhere_else() -> None:
    _, (event,) = await call("/items/1")
    assert event.client == hmac.new(ADDRESS_KEY.encode(), ADDRESS.encode(), "sha256").hexdigest()[:32]
    assert ADDRESS not in event.model_dump_json()


async def test_an_address_that_is_written_in_another_way_has_the_same_hash() -> None:
    (event,) = (await raw_call({"client": (f"::ffff:{ADDRESS}", 4711)}))[1].events
    assert event.client == (await call("/items/1"))[1][0].client


async def test_a_call_without_an_address_is_still_recorded() -> None:
    _, activity = await raw_call({"client": None})
    assert activity.events[0].client is None


async def test_a_very_long_method_is_cut() -> None:
    _, activity = await raw_call({"method": "M" * 5_000})
    assert activity.events[0].method == "M" * 16


@given(st.text(min_size=1, max_size=300).filter(lambda text: text.isprintable()))
async def test_no_path_whatever_makes_a_call_fail(path: str) -> None:
    sent, activity = await raw_call({"path": "/items/" + path})
    assert sent[0]["status"] in (200, 404, 422)
    assert len(activity.events) == 1


async def test_an_unexpected_error_is_logged_and_on_the_span(caplog: pytest.LogCaptureFixture) -> None:
    SPANS.clear()
    await call("/broken")
    (line,) = [record for record in caplog.records if record.name == "tidings.http.middleware"]
    assert line.exc_info
    assert "what is wrong inside" in str(line.exc_info[1])
    (span,) = SPANS.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


async def test_an_error_after_the_answer_began_cuts_the_connection_and_is_recorded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    with pytest.raises(RuntimeError, match="what is wrong inside"):
        await raw_call({"path": "/broken-later"})
    answer, (event,) = await call("/broken-later")
    assert answer.content == b"half"
    assert (event.route, event.response_bytes) == ("/broken-later", 4)


async def test_one_call_makes_one_server_span_and_health_makes_none() -> None:
    SPANS.clear()
    await call("/health/live")
    await call("/items/1")
    assert [span.name for span in SPANS.get_finished_spans()] == ["GET /items/{number}"]


async def test_a_lifespan_passes_through_untouched() -> None:
    seen: list[str] = []
    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Message:
        return {"type": next(messages)}

    async def send(message: Message) -> None:
        seen.append(message["type"])

    await APP({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert seen == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_requests_are_measured_by_route() -> None:
    await call("/items/1")
    data = METRICS.get_metrics_data()
    assert data is not None
    assert "/items/{number}" in json.dumps(json.loads(data.to_json()))
    assert "http.server.request.duration" in data.to_json()


LIMIT = 10


async def limited(chunks: list[bytes], declared: str | None = None, kind: str = "http") -> tuple[bytes, int, int]:
    """Send `chunks` to a reader behind a limit of 10 bytes: what it read, how often the limit asked, the status."""
    waiting: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": place < len(chunks)}
        for place, chunk in enumerate(chunks, start=1)
    ]
    read, asked, sent = b"", 0, []

    async def reader(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal read
        more = True
        while more:
            message = await receive()
            read += message.get("body", b"")
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-length", declared.encode("latin-1"))] if declared is not None else []
    scope: Scope = {"type": kind, "method": "POST", "path": "/x", "headers": headers}
    try:
        await BodyLimit(reader, LIMIT)(scope, receive, send)
    except HTTPException as error:
        return read, asked, error.status_code
    return read, asked, sent[0]["status"]


@pytest.mark.parametrize("declared", [str(LIMIT + 1), "9" * 5_000, "00011"])
async def test_a_body_that_is_declared_too_large_is_refused_before_it_is_read(declared: str) -> None:
    assert await limited([b"x" * (LIMIT + 1)], declared) == (b"", 0, 413)


@pytest.mark.parametrize("chunks", [[b"x" * LIMIT], [b"xxx"] * 3 + [b"x"], [b"x"] * LIMIT + [b""]])
@pytest.mark.parametrize("declared", [str(LIMIT), None])
async def test_a_body_exactly_at_the_limit_is_taken(chunks: list[bytes], declared: str | None) -> None:
    assert await limited(chunks, declared) == (b"x" * LIMIT, len(chunks), 200)


@pytest.mark.parametrize("declared", [None, "3", "", "-1", "many", "²", "1e9", "0" * 20 + "11"])
async def test_a_body_is_refused_at_the_first_byte_too_many_whatever_was_declared(declared: str | None) -> None:
    assert await limited([b"xxxxx", b"xxxxx", b"x", b"never asked for"], declared) == (b"x" * LIMIT, 3, 413)


async def test_a_body_limit_passes_on_what_is_no_request() -> None:
    assert await limited([b""], str(LIMIT + 1), kind="websocket") == (b"", 1, 200)


async def test_a_body_that_is_too_large_leaves_an_event_like_every_call() -> None:
    answer, (event,) = await call("/items/1", **{"Content-Length": str(2**40)})
    assert (answer.status_code, event.status, event.route) == (413, 413, None)


@pytest.fixture
def exported() -> Iterator[tuple[FastAPI, Telemetry, InMemorySpanExporter]]:
    """A service whose spans go to memory the way they go to a collector."""
    exporter = InMemorySpanExporter()
    telemetry = Telemetry("tidings-test", span_exporter=exporter)
    routes = APIRouter()

    @routes.get("/api/{name}")
    async def named(name: str) -> str:
        return name

    app = create_service(
        name="test",
        summary="A service for tests.",
        public_url="/",
        address_key=ADDRESS_KEY,
        telemetry=telemetry,
        lifespan=nothing,
        public_routers=[routes],
        routers=[],
    )
    yield app, telemetry, exporter
    telemetry.tracer_provider.shutdown()
    telemetry.meter_provider.shutdown()


async def spans_of(
    exported: tuple[FastAPI, Telemetry, InMemorySpanExporter], path: str, **headers: str
) -> tuple[httpx.Response, list[str]]:
    app, telemetry, exporter = exported
    async with client(app, activity=EmittedActivity(), health=Health(), verifier=OneToken()) as http:
        answer = await http.get(path, headers=headers)
    telemetry.tracer_provider.force_flush()
    return answer, [span.name for span in exporter.get_finished_spans()]


@pytest.mark.parametrize(
    "path",
    ["/api/x", "/api/x?next=/docs", "/api/x?next=http://h/docs", "/api/docs", "/api/health", "/api/openapi.json"],
)
async def test_a_call_is_traced_whatever_its_query_mentions(
    exported: tuple[FastAPI, Telemetry, InMemorySpanExporter], path: str
) -> None:
    answer, spans = await spans_of(exported, path)
    assert (answer.status_code, spans) == (200, ["GET /api/{name}"])
    assert answer.headers["x-trace-id"]


@pytest.mark.parametrize("path", ["/docsx", "/healthy", "/api/docs/assets"])
async def test_a_path_that_only_looks_like_a_management_path_is_traced(
    exported: tuple[FastAPI, Telemetry, InMemorySpanExporter], path: str
) -> None:
    answer, spans = await spans_of(exported, path)
    assert (answer.status_code, len(spans)) == (404, 1)


@pytest.mark.parametrize(
    "path",
    [
        "/docs",
        "/docs?next=/api/x",
        "/docs/events",
        "/asyncapi.json",
        "/docs/assets/docs.js",
        "/health/live",
        "/openapi.json",
        "/openapi/test.json",
    ],
)
async def test_what_operators_and_browsers_poll_is_not_traced(
    exported: tuple[FastAPI, Telemetry, InMemorySpanExporter], path: str
) -> None:
    answer, spans = await spans_of(exported, path)
    assert (answer.status_code, spans) == (200, [])
    assert re.fullmatch("00-([0-9a-f]{32})-[0-9a-f]{16}-00", answer.headers["traceresponse"])
    assert answer.headers["x-trace-id"] in answer.headers["traceresponse"]


@pytest.mark.parametrize("host", ["x/docs", "x/docs/assets", "x/health", "x/openapi", "x/metrics", ""])
async def test_no_host_header_keeps_a_call_out_of_the_traces(
    exported: tuple[FastAPI, Telemetry, InMemorySpanExporter], host: str
) -> None:
    answer, spans = await spans_of(exported, "/api/x", Host=host)
    assert (answer.status_code, spans) == (200, ["GET /api/{name}"])


@pytest.mark.parametrize("name", [b"user-agent", b"host", b"traceparent", b"tracestate", b"baggage", b"authorization"])
@pytest.mark.parametrize(
    "value", [b"\xff\\x", b"\xff\\N{nothing}", b"\xff\\ud800", "é\\x".encode("latin-1")], ids=ascii
)
async def test_header_that_is_not_utf_8_fails_no_request(name: bytes, value: bytes) -> None:
    sent, _ = await raw_call({"headers": [(name, value)]})
    assert sent[0]["status"] == 200


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("내 전화기 📱".encode(), "내 전화기 📱"),
        ("Müller's phone".encode("latin-1"), "Müller's phone"),
        (b"caf\xe9 \\n{\\x22forged\\x22: 1}", "café \\n{\\x22forged\\x22: 1}"),
        (b"a\x9b2J\xc2\x85b\tc", "a 2JÂ b c"),
        ("safe\u202egnp.exe\u2028\u200b".encode(), "safegnp.exe"),
        (b"Mozilla/5.0", "Mozilla/5.0"),
    ],
    ids=ascii,
)
async def test_user_agent_is_one_readable_line_in_the_span(value: bytes, shown: str) -> None:
    SPANS.clear()
    await raw_call({"headers": [(b"user-agent", value)]})
    (span,) = SPANS.get_finished_spans()
    assert span.attributes
    assert span.attributes["user_agent.original"] == shown


@pytest.mark.parametrize("extra", ["\u00ad", "\u200b", "\ufeff", "\u3164"], ids=ascii)
async def test_header_that_nobody_sees_is_left_as_it_was_sent(extra: str) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent, _ = await raw_call({"headers": [(b"traceparent", f"00-{trace_id}-00f067aa0ba902b7-01{extra}".encode())]})
    assert trace_id not in header(sent, "traceresponse")
