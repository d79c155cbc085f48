"""OpenTelemetry's own variables: checked with the other settings, although the SDK reads most of them by itself.

The SDK answers some wrong values with a traceback and others with its defaults. An empty value counts as not set, as
OpenTelemetry's specification has it.
"""

import os
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings

from tidings import addresses, known_secrets

UNUSED = ("OTEL_PROPAGATORS", "OTEL_PYTHON_CONTEXT", "OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER")
"""Tidings has its own propagators, context and providers, whatever these say."""
DEFAULT_QUEUE, DEFAULT_BATCH = 2048, 512
"""The SDK's own sizes of a span queue and of one export."""
LONGEST_MS = 86_400_000
"""One day."""

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+=[\x20-\x7e]+")


def drop_unused() -> None:
    """Remove from the environment what Tidings does not use, and what is empty.

    OpenTelemetry reads some of these variables when it is imported, and a wrong value would end that in a traceback.
    So a process calls this before it imports anything that imports OpenTelemetry.
    """
    for name, value in list(os.environ.items()):
        if name in UNUSED or (name.startswith("OTEL_") and not value.strip()):
            del os.environ[name]


def _unless_empty(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _in_small_letters(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _is_file(value: Path) -> Path:
    if not value.is_file():
        raise ValueError("there is no such file")
    return value


def _holds_headers(value: SecretStr) -> SecretStr:
    pairs = [pair.strip() for pair in value.get_secret_value().split(",")]
    if not all(_HEADER.fullmatch(pair) and unquote(pair).isprintable() for pair in pairs):
        raise ValueError("must be name=value pairs, separated by commas, with percent-encoded values")
    return value


def _holds_attributes(value: str) -> str:
    names = [name.strip() if equals else "" for name, equals, _ in (pair.partition("=") for pair in value.split(","))]
    if not all(names):
        raise ValueError("must be name=value pairs, separated by commas")
    return value


def _names_detectors(value: str) -> str:
    known = {"*", *entry_points(group="opentelemetry_resource_detector").names}
    if not {name.strip() for name in value.split(",")} - {""} <= known:
        raise ValueError(f"must be some of {', '.join(sorted(known))}, separated by commas")
    return value


Unless = BeforeValidator(_unless_empty)
Small = BeforeValidator(_in_small_letters)
Count = Annotated[Annotated[int, Field(ge=0, le=2**31 - 1)] | None, Unless]
Size = Annotated[Annotated[int, Field(ge=1, le=1_000_000)] | None, Unless]
Milliseconds = Annotated[Annotated[int, Field(ge=1, le=LONGEST_MS)] | None, Unless]
Seconds = Annotated[Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None, Unless]
File = Annotated[Annotated[Path, AfterValidator(_is_file)] | None, Unless]
Headers = Annotated[Annotated[SecretStr, AfterValidator(_holds_headers)] | None, Unless]
Compression = Annotated[Literal["none", "gzip", "deflate"] | None, Small, Unless]
Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]


def _of(name: str, description: str | None = None) -> Any:
    return Field(default=None, validation_alias=name, description=description)


class StandardVariables(BaseSettings):
    """What OpenTelemetry is told by its own variables; its documentation says what each of them means."""

    otlp_endpoint: Annotated[Annotated[str, AfterValidator(addresses.base_address)] | None, Unless] = _of(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "base URL of an OpenTelemetry collector (OTLP over HTTP); without it spans go nowhere",
    )
    otlp_headers: Headers = _of("OTEL_EXPORTER_OTLP_HEADERS")
    otlp_traces_headers: Headers = _of("OTEL_EXPORTER_OTLP_TRACES_HEADERS")
    otlp_metrics_headers: Headers = _of("OTEL_EXPORTER_OTLP_METRICS_HEADERS")
    otlp_timeout: Seconds = _of("OTEL_EXPORTER_OTLP_TIMEOUT")
    otlp_traces_timeout: Seconds = _of("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
    otlp_metrics_timeout: Seconds = _of("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT")
    otlp_compression: Compression = _of("OTEL_EXPORTER_OTLP_COMPRESSION")
    otlp_traces_compression: Compression = _of("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION")
    otlp_metrics_compression: Compression = _of("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION")
    otlp_certificate: File = _of("OTEL_EXPORTER_OTLP_CERTIFICATE")
    otlp_traces_certificate: File = _of("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")
    otlp_metrics_certificate: File = _of("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE")
    otlp_client_key: File = _of("OTEL_EXPORTER_OTLP_CLIENT_KEY")
    otlp_traces_client_key: File = _of("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY")
    otlp_metrics_client_key: File = _of("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY")
    otlp_client_certificate: File = _of("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
    otlp_traces_client_certificate: File = _of("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE")
    otlp_metrics_client_certificate: File = _of("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE")
    traces_sampler: Annotated[Sampler | None, Small, Unless] = _of("OTEL_TRACES_SAMPLER")
    traces_sampler_arg: Annotated[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None, Unless] = _of(
        "OTEL_TRACES_SAMPLER_ARG", "share of traces that are kept"
    )
    bsp_schedule_delay: Milliseconds = _of("OTEL_BSP_SCHEDULE_DELAY")
    bsp_export_timeout: Milliseconds = _of("OTEL_BSP_EXPORT_TIMEOUT")
    bsp_max_queue_size: Size = _of("OTEL_BSP_MAX_QUEUE_SIZE")
    bsp_max_export_batch_size: Size = _of("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")
    metric_export_interval: Milliseconds = _of("OTEL_METRIC_EXPORT_INTERVAL")
    metric_export_timeout: Milliseconds = _of("OTEL_METRIC_EXPORT_TIMEOUT")
    metrics_exemplar_filter: Annotated[Literal["always_on", "always_off", "trace_based"] | None, Unless] = _of(
        "OTEL_METRICS_EXEMPLAR_FILTER"
    )
    attribute_count_limit: Count = _of("OTEL_ATTRIBUTE_COUNT_LIMIT")
    attribute_value_length_limit: Count = _of("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")
    span_attribute_count_limit: Count = _of("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT")
    span_attribute_value_length_limit: Count = _of("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")
    span_event_count_limit: Count = _of("OTEL_SPAN_EVENT_COUNT_LIMIT")
    span_link_count_limit: Count = _of("OTEL_SPAN_LINK_COUNT_LIMIT")
    event_attribute_count_limit: Count = _of("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT")
    link_attribute_count_limit: Count = _of("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT")
    resource_attributes: Annotated[Annotated[str, AfterValidator(_holds_attributes)] | None, Unless] = _of(
        "OTEL_RESOURCE_ATTRIBUTES"
    )
    resource_detectors: Annotated[Annotated[str, AfterValidator(_names_detectors)] | None, Unless] = _of(
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"
    )
    sdk_disabled: Annotated[Literal["true", "false"] | None, Small, Unless] = _of("OTEL_SDK_DISABLED")

    def model_post_init(self, context: Any) -> None:
        """Remember the secrets among these settings."""
        known_secrets.remember(self)

    @model_validator(mode="after")
    def _fits_the_queue(self) -> "StandardVariables":
        batch, queue = self.bsp_max_export_batch_size or DEFAULT_BATCH, self.bsp_max_queue_size or DEFAULT_QUEUE
        if batch > queue:
            raise ValueError(
                f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE: is {batch}, more than OTEL_BSP_MAX_QUEUE_SIZE, which is {queue}"
            )
        return self
