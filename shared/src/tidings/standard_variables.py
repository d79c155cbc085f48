"""OpenTelemetry's own variables: checked with the other settings, although the SDK reads most of them by itself.

The SDK answers some wrong values with a traceback and others with its defaults. An empty value counts as not set, as
OpenTelemetry's specification has it. A variable of a single signal (`…_TRACES_…`, `…_METRICS_…`) goes before the
variable for all signals.
"""

import os
import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from tidings import addresses, known_secrets
from tidings.tls import require_certificates, require_file, require_key

UNUSED = (
    "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS",
    "OTEL_PROPAGATORS",
    "OTEL_PYTHON_CONTEXT",
    "OTEL_PYTHON_EXCLUDED_URLS",
    "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS",
    "OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS",
    "OTEL_PYTHON_METER_PROVIDER",
    "OTEL_PYTHON_TRACER_PROVIDER",
    "OTEL_SEMCONV_STABILITY_OPT_IN",
    "OTEL_SERVICE_NAME",
)
"""Tidings decides by itself on names, context, conventions and what is traced, whatever these say."""
DEFAULT_QUEUE, DEFAULT_BATCH = 2048, 512
"""The SDK's own sizes of a span queue and of one export."""
LONGEST_MS = 86_400_000
"""One day."""

_HEADER_NAME = re.compile(r"[!#$&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+")
"""What the SDK takes: printable ASCII without spaces, quotes, commas, semicolons and backslashes."""
HEADERS_RULE = "must be name=value pairs, separated by commas, with percent-encoded values in Latin-1"


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


def _holds_certificates(value: Path) -> Path:
    require_certificates(value)
    return value


def _is_file(value: Path) -> Path:
    require_file(value)
    return value


def _is_endpoint(value: str) -> str:
    if addresses.http_address(value).query is not None:
        raise ValueError("must not have a query")
    return value


def _holds_headers(value: SecretStr) -> SecretStr:
    for pair in value.get_secret_value().split(","):
        name, _, text = pair.strip().partition("=")
        if not (_HEADER_NAME.fullmatch(name.rstrip(" \t")) and _is_header_value(text.lstrip(" \t"))):
            raise ValueError(HEADERS_RULE)
    return value


def _is_header_value(text: str) -> bool:
    """Return whether the SDK reads a value as it is meant, and HTTP can carry it."""
    if "%" not in text:
        return bool(_HEADER_VALUE.fullmatch(text.replace(" ", "+")))  # spaces are good where nothing is encoded
    try:
        addresses.require_escapes(text)
        unquote(text).encode("latin-1")
    except ValueError:
        return False
    return bool(_HEADER_VALUE.fullmatch(text))


def _holds_attributes(value: str) -> str:
    for pair in value.split(","):
        name, equals, text = pair.partition("=")
        if not (name.strip() and equals):
            raise ValueError("must be name=value pairs, separated by commas")
        addresses.require_escapes(text)
    return value


def _holds_patterns(value: str) -> str:
    try:
        re.compile("|".join(pattern.strip() for pattern in value.split(",")))
    except re.error:
        raise ValueError("must be regular expressions, separated by commas") from None
    return value


def _names_detectors(value: str) -> str:
    known = {"*", *entry_points(group="opentelemetry_resource_detector").names}
    if not {name.strip() for name in value.split(",")} - {""} <= known:
        raise ValueError(f"must be some of {', '.join(sorted(known))}, separated by commas")
    return value


def _names_provider(value: str) -> str:
    if value not in entry_points(group="opentelemetry_otlp_credential_provider").names:
        raise ValueError("must be the name of a credential provider that is installed")
    return value


Unless = BeforeValidator(_unless_empty)
Small = BeforeValidator(_in_small_letters)
Count = Annotated[Annotated[int, Field(ge=0, le=2**31 - 1)] | None, Unless]
Size = Annotated[Annotated[int, Field(ge=1, le=1_000_000)] | None, Unless]
Milliseconds = Annotated[Annotated[int, Field(ge=1, le=LONGEST_MS)] | None, Unless]
Seconds = Annotated[Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None, Unless]
Certificates = Annotated[Annotated[Path, AfterValidator(_holds_certificates)] | None, Unless]
Key = Annotated[Annotated[Path, AfterValidator(_is_file)] | None, Unless]
Endpoint = Annotated[Annotated[str, AfterValidator(_is_endpoint)] | None, Unless]
Patterns = Annotated[Annotated[str, AfterValidator(_holds_patterns)] | None, Unless]
Provider = Annotated[Annotated[str, AfterValidator(_names_provider)] | None, Unless]
Flag = Annotated[Literal["true", "false"] | None, Small, Unless]
Exporter = Annotated[Literal["otlp", "none"] | None, Unless]
Protocol = Annotated[Literal["http/protobuf"] | None, Unless]
Temporality = Annotated[Literal["cumulative", "delta", "lowmemory"] | None, Small, Unless]
Histogram = Annotated[Literal["explicit_bucket_histogram", "base2_exponential_bucket_histogram"] | None, Small, Unless]
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
    return Field(default=None, validate_default=True, validation_alias=name, description=description)


@dataclass(frozen=True)
class Destination:
    """Where the spans or the metrics of this process go."""

    url: str
    timeout: float | None
    """Seconds that one export may take, if a variable says so."""


class StandardVariables(BaseSettings):
    """What OpenTelemetry is told by its own variables; its documentation says what each of them means."""

    otlp_endpoint: Annotated[Annotated[str, AfterValidator(addresses.base_address)] | None, Unless] = _of(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "base URL of an OpenTelemetry collector (OTLP over HTTP); without it spans go nowhere",
    )
    otlp_traces_endpoint: Endpoint = _of("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "URL that takes spans")
    otlp_metrics_endpoint: Endpoint = _of("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "URL that takes metrics")
    traces_exporter: Exporter = _of("OTEL_TRACES_EXPORTER")
    metrics_exporter: Exporter = _of("OTEL_METRICS_EXPORTER")
    otlp_protocol: Protocol = _of("OTEL_EXPORTER_OTLP_PROTOCOL")
    otlp_traces_protocol: Protocol = _of("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    otlp_metrics_protocol: Protocol = _of("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL")
    otlp_headers: Headers = _of("OTEL_EXPORTER_OTLP_HEADERS")
    otlp_traces_headers: Headers = _of("OTEL_EXPORTER_OTLP_TRACES_HEADERS")
    otlp_metrics_headers: Headers = _of("OTEL_EXPORTER_OTLP_METRICS_HEADERS")
    otlp_timeout: Seconds = _of("OTEL_EXPORTER_OTLP_TIMEOUT")
    otlp_traces_timeout: Seconds = _of("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
    otlp_metrics_timeout: Seconds = _of("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT")
    otlp_compression: Compression = _of("OTEL_EXPORTER_OTLP_COMPRESSION")
    otlp_traces_compression: Compression = _of("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION")
    otlp_metrics_compression: Compression = _of("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION")
    otlp_certificate: Certificates = _of("OTEL_EXPORTER_OTLP_CERTIFICATE")
    otlp_traces_certificate: Certificates = _of("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")
    otlp_metrics_certificate: Certificates = _of("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE")
    otlp_client_certificate: Certificates = _of("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
    otlp_traces_client_certificate: Certificates = _of("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE")
    otlp_metrics_client_certificate: Certificates = _of("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE")
    otlp_client_key: Key = _of("OTEL_EXPORTER_OTLP_CLIENT_KEY")
    otlp_traces_client_key: Key = _of("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY")
    otlp_metrics_client_key: Key = _of("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY")
    otlp_credential_provider: Provider = _of("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER")
    otlp_traces_credential_provider: Provider = _of("OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER")
    otlp_metrics_credential_provider: Provider = _of("OTEL_PYTHON_EXPORTER_OTLP_HTTP_METRICS_CREDENTIAL_PROVIDER")
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
    metrics_temporality: Temporality = _of("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE")
    metrics_histogram: Histogram = _of("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION")
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
    captured_request_headers: Patterns = _of("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST")
    captured_response_headers: Patterns = _of("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE")
    sanitized_headers: Patterns = _of("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS")
    sdk_disabled: Flag = _of("OTEL_SDK_DISABLED")
    sdk_internal_metrics: Flag = _of("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED")

    def model_post_init(self, context: Any) -> None:
        """Remember the secrets among these settings."""
        known_secrets.remember(self)

    @property
    def spans_to(self) -> Destination | None:
        """Where spans go, if anywhere."""
        return self._destination("traces", self.traces_exporter, self.otlp_traces_endpoint, self.otlp_traces_timeout)

    @property
    def metrics_to(self) -> Destination | None:
        """Where metrics go, if anywhere."""
        return self._destination(
            "metrics", self.metrics_exporter, self.otlp_metrics_endpoint, self.otlp_metrics_timeout
        )

    def _destination(
        self, signal: str, exporter: str | None, endpoint: str | None, timeout: float | None
    ) -> Destination | None:
        if not endpoint and self.otlp_endpoint:
            endpoint = f"{self.otlp_endpoint}/v1/{signal}"
        return Destination(endpoint, timeout or self.otlp_timeout) if endpoint and exporter != "none" else None

    @field_validator("otlp_client_key", "otlp_traces_client_key", "otlp_metrics_client_key")
    @classmethod
    def _fits_the_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        """Check the pair of certificate and key that the SDK uses, where a part of it is of the same signal."""
        assert info.field_name
        certificate = info.field_name.replace("key", "certificate")
        general = {"otlp_client_certificate": None, "otlp_client_key": None}
        files = general | info.data | {info.field_name: value}
        if certificate in info.data and (value or files[certificate]):
            require_key(files[certificate] or files["otlp_client_certificate"], value or files["otlp_client_key"])
        return value

    @field_validator("bsp_max_export_batch_size")
    @classmethod
    def _fits_the_queue(cls, value: int | None, info: ValidationInfo) -> int | None:
        if "bsp_max_queue_size" in info.data:
            queue = info.data["bsp_max_queue_size"] or DEFAULT_QUEUE
            if (value or DEFAULT_BATCH) > queue:
                raise ValueError(
                    "must not be more than OTEL_BSP_MAX_QUEUE_SIZE; "
                    f"without these variables they are {DEFAULT_BATCH} and {DEFAULT_QUEUE}"
                )
        return value
