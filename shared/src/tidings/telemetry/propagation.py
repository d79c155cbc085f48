"""Trace propagation: the W3C trace context as a small mapping that an outbox row or a Kafka record carries.

Only OpenTelemetry's API is needed. Sources: W3C Trace Context level 1, W3C Baggage.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import unquote

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import CarrierT, Getter, default_getter
from opentelemetry.trace import NonRecordingSpan, SpanContext, get_current_span, set_span_in_context, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tidings.events.redaction import REDACTED, redact_value

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
BAGGAGE = "baggage"


class StrictTraceContext(TraceContextTextMapPropagator):
    """The W3C trace context, believed only when there is exactly one `traceparent`.

    The SDK's own takes the first of several; the recommendation has the receiver start a new trace (section 3.2).
    """

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """Return `context` with the carrier's span in it, or as it was."""
        parents = getter.get(carrier, TRACEPARENT) or []
        if len(parents) != 1:
            return context if context is not None else Context()
        state = _members(carrier, TRACESTATE, getter)
        return super().extract({TRACEPARENT: parents[0]} | ({TRACESTATE: state} if state else {}), context)


class WholeBaggage(W3CBaggagePropagator):
    """The W3C baggage of all `baggage` headers together; what is over the limits (8192 bytes, 180 members) is dropped.

    The SDK's own reads the first header only, where the recommendation has them combined (section 3.1).
    """

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """Return `context` with the carrier's baggage in it."""
        baggage = _members(carrier, BAGGAGE, getter)
        return super().extract({BAGGAGE: baggage} if baggage else {}, context)


def _members(carrier: CarrierT, name: str, getter: Getter[CarrierT]) -> str:
    """Return all headers `name` as one list, without the members that hold a secret: they would go far."""
    headers = getter.get(carrier, name)
    if not headers:
        return ""
    members = ",".join(headers).split(",")
    return ",".join(member for member in members if redact_value(unquote(member)) != REDACTED)


PROPAGATOR = CompositePropagator([StrictTraceContext(), WholeBaggage()])
"""What a context travels by: over HTTP, in the outbox, and in the headers of records."""


def current_carrier() -> dict[str, str]:
    """Return `traceparent`, `tracestate` and `baggage` of the current context, as far as there are any."""
    return carrier_of(None)


def carrier_of(context: Context | None) -> dict[str, str]:
    """Return `traceparent`, `tracestate` and `baggage` of `context`, or of the current one when it is `None`."""
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier, context)
    return carrier


def detached_context() -> Context:
    """Return the current context for later: its span is there by name only, so a span that ended need not be kept."""
    return set_span_in_context(NonRecordingSpan(get_current_span().get_span_context()))


def context_from(carrier: Mapping[str, str]) -> Context:
    """Return the context that `carrier` describes; a malformed one gives an empty context."""
    return PROPAGATOR.extract(carrier, context=Context())


def carrier_from_headers(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Return the trace context among a record's headers.

    Of a record with two `traceparent` headers neither can be believed: it starts a new trace.
    """
    found: dict[str, list[str]] = {TRACEPARENT: [], TRACESTATE: [], BAGGAGE: []}
    for name, raw in headers:
        if name in found and raw is not None:
            found[name].append(raw.decode("ascii", errors="replace"))
    if len(found[TRACEPARENT]) != 1:
        return {}
    return {name: ",".join(texts) for name, texts in found.items() if texts}


@contextmanager
def in_some_trace(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[SpanContext]:
    """Run the block in the current span; without one, in a span that is never recorded, so that there is a trace id.

    Args:
        headers: those of the request; the trace of its `traceparent` goes on, without one a new trace begins.
    """
    span = current_span_context()
    if span:
        yield span
        return
    carrier = carrier_from_headers((name.decode("latin-1"), value) for name, value in headers)
    caller = get_current_span(context_from(carrier)).get_span_context()
    trace_id = caller.trace_id if caller.is_valid else secrets.randbits(128)
    span = SpanContext(trace_id, secrets.randbits(64), is_remote=False)
    with use_span(NonRecordingSpan(span)):
        yield span


def current_span_context() -> SpanContext | None:
    """Return the current span's context, or `None` outside any trace."""
    context = get_current_span().get_span_context()
    return context if context.is_valid else None


def current_trace_id() -> str | None:
    """Return the current trace id as 32 hexadecimal digits, or `None` outside any trace."""
    context = current_span_context()
    return f"{context.trace_id:032x}" if context else None
