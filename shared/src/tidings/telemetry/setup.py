"""OpenTelemetry set-up: one tracer provider and one meter provider for each service, also within one process.

The SDK reads its standard variables, such as `OTEL_TRACES_SAMPLER`, by itself; the settings have checked them before.
"""

import asyncio
import os
from collections.abc import Sequence
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Meter
from opentelemetry.propagate import set_global_textmap
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Tracer

from tidings.settings import SettingsError
from tidings.standard_variables import StandardVariables
from tidings.telemetry.names import SERVICE_NAME
from tidings.telemetry.propagation import PROPAGATOR
from tidings.telemetry.spans import RedactingExporter

EXPORT_TIMEOUT = 2.0
"""Seconds that one export may take unless a variable says otherwise: a dead collector must not hold anything up."""

# The instrumentations still speak the conventions of 2022 unless asked for today's.
os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")


class Telemetry:
    """The tracing and metrics of one service.

    Args:
        service: becomes `service.name`.
        settings: where spans and metrics go; without a destination they are made, propagated and dropped.
        span_exporter: where spans go instead of the collector.
        metric_readers: what else reads the metrics.

    Raises:
        SettingsError: the SDK refuses one of its variables that the settings do not check.
    """

    def __init__(
        self,
        service: str,
        settings: StandardVariables | None = None,
        span_exporter: SpanExporter | None = None,
        metric_readers: Sequence[MetricReader] = (),
    ) -> None:
        self.service = service
        set_global_textmap(PROPAGATOR)  # what the HTTP instrumentation reads requests with
        try:
            self._set_up(settings, span_exporter, metric_readers)
        except (ValueError, RuntimeError, OSError):
            names = ", ".join(sorted(name for name in os.environ if name.startswith("OTEL_")))
            raise SettingsError(f"OpenTelemetry's SDK refuses one of its variables: {names}") from None

    def _set_up(
        self,
        settings: StandardVariables | None,
        span_exporter: SpanExporter | None,
        metric_readers: Sequence[MetricReader],
    ) -> None:
        resource = Resource.create({SERVICE_NAME: self.service})
        readers = list(metric_readers)
        if settings and (to := settings.spans_to):
            span_exporter = span_exporter or OTLPSpanExporter(to.url, timeout=to.timeout or EXPORT_TIMEOUT)
        if settings and (to := settings.metrics_to):
            metric_exporter = OTLPMetricExporter(to.url, timeout=to.timeout or EXPORT_TIMEOUT)
            readers.append(PeriodicExportingMetricReader(metric_exporter))
        self.tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        if span_exporter:
            self.tracer_provider.add_span_processor(BatchSpanProcessor(RedactingExporter(span_exporter)))
        self.meter_provider = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        self.tracer: Tracer = self.tracer_provider.get_tracer("tidings")
        self.meter: Meter = self.meter_provider.get_meter("tidings")

    async def shutdown(self, deadline: float = 3.0) -> None:
        """Export what is left, for at most `deadline` seconds.

        The SDK's own shutdown blocks, and with a dead collector for longer than any process may wait; its threads are
        daemons, so that what has not ended by then ends with the process.
        """
        threads = [
            Thread(target=provider.shutdown, daemon=True) for provider in (self.tracer_provider, self.meter_provider)
        ]
        for thread in threads:
            thread.start()
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline
        while any(thread.is_alive() for thread in threads) and loop.time() < end:  # noqa: ASYNC110  # they are threads
            await asyncio.sleep(0.01)
