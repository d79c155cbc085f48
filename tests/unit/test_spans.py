"""Spans: what leaves the process has no secret in it, and is otherwise as it was."""

from collections.abc import Mapping

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from tidings.telemetry.spans import RedactingExporter, _redacted

CANARY = "canary-4711"


def exported(span_attributes: Mapping[str, AttributeValue]) -> tuple[ReadableSpan, ReadableSpan]:
    """Return a span that failed with a secret in its error, as it was and as it was exported."""
    raw, redacted = InMemorySpanExporter(), InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    for exporter in (raw, RedactingExporter(redacted)):
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test", "1")
    with tracer.start_as_current_span("parent") as parent:
        span = tracer.start_span(
            "GET /x", kind=SpanKind.SERVER, attributes=span_attributes, links=[Link(parent.get_span_context())]
        )
        span.record_exception(ValueError(f"refused: password={CANARY}"))
        span.set_status(Status(StatusCode.ERROR, f"Bearer {CANARY}"))
        span.end()
    return raw.get_finished_spans()[0], redacted.get_finished_spans()[0]


def test_an_exported_span_has_no_secret() -> None:
    _, span = exported(
        {
            "url.query": f"limit=20&token={CANARY}",
            "url.full": f"http://mina:{CANARY}@host/x",
            "http.request.header.authorization": (CANARY,),
            "http.request.header.accept": ("*/*", f"Bearer {CANARY}"),
            "db.query.text": f"SELECT 1 WHERE password = '{CANARY}'",
            "http.response.status_code": 200,
        }
    )
    assert CANARY not in span.to_json()
    assert span.attributes == {
        "url.query": "limit=20&token=[redacted]",
        "url.full": "http://[redacted]@host/x",
        "http.request.header.authorization": "[redacted]",
        "http.request.header.accept": ("*/*", "[redacted]"),
        "db.query.text": "SELECT 1 WHERE password = [redacted]",
        "http.response.status_code": 200,
    }
    assert span.status.description == "[redacted]"
    assert (span.events[0].attributes or {})["exception.message"] == "refused: password=[redacted]"


def test_a_span_without_secrets_is_exported_as_it_was() -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test", "1")
    with tracer.start_as_current_span("parent") as parent:
        links = [Link(parent.get_span_context())]
        with tracer.start_as_current_span("child", kind=SpanKind.CLIENT, attributes={"a": 1, "b": "x"}, links=links):
            parent.add_event("now", {"c": ("x", "y")})
    for span in exporter.get_finished_spans():
        assert _redacted(span).to_json() == span.to_json()


def test_it_flushes_and_shuts_down_what_it_exports_to() -> None:
    inner = InMemorySpanExporter()
    exporter = RedactingExporter(inner)
    assert exporter.force_flush()
    exporter.shutdown()
    assert inner._stopped
