"""OpenTelemetry's variables: the SDK reads none that is not checked, and where they send spans and metrics."""

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from support.settings import PLACES
from tidings.settings import Settings, SettingsError, load
from tidings.standard_variables import UNUSED, Destination
from tidings.telemetry.setup import EXPORT_TIMEOUT, Telemetry

BASE = "http://collector:4318"
TRACES, METRICS = "http://spans:1/here", "http://metrics:2/there"

PRINT_WHAT_IS_READ = """
import os

read, original = set(), os._Environ.__getitem__

def recording(environ, name):
    read.add(name)
    return original(environ, name)

os._Environ.__getitem__ = recording
import tidings_auth.app
from tidings.settings import Settings, load
from tidings.telemetry.setup import Telemetry

telemetry = Telemetry("test", load(Settings))
app = tidings_auth.app.create_service(
    name="test", summary="", public_url=None, address_key="", telemetry=telemetry, lifespan=None, routers=[]
)
app.build_middleware_stack()
print(*(name for name in read if name.startswith("OTEL_")))
"""


@dataclass(frozen=True)
class Export:
    """One request to a collector."""

    url: str
    headers: Mapping[str, str]
    timeout: float


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[Export]:
    """What is sent to any collector; nothing leaves the process."""
    sent: list[Export] = []

    def request(_: requests.Session, method: str, url: str, **options: Any) -> requests.Response:
        assert method.upper() == "POST"
        sent.append(Export(url, options["headers"], options["timeout"]))
        response = requests.Response()
        response.status_code = 200
        return response

    monkeypatch.setattr(requests.Session, "request", request)
    return sent


def given(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_{name}", value)
    return load(Settings)


async def export(settings: Settings) -> None:
    """Make a span and a measurement, and export them."""
    telemetry = Telemetry("test", settings)
    telemetry.meter.create_counter("counted").add(1)
    with telemetry.tracer.start_as_current_span("span"):
        pass
    await telemetry.shutdown()


def test_every_variable_that_the_sdk_reads_is_checked() -> None:
    environment = {
        f"OTEL_{name}": value
        for name, value in {
            "EXPORTER_OTLP_ENDPOINT": BASE,
            "TRACES_SAMPLER": "traceidratio",
            "PROPAGATORS": "nothing",
        }.items()
    }
    code = f"from tidings.standard_variables import drop_unused; drop_unused()\n{PRINT_WHAT_IS_READ}"
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    names = set(ended.stdout.split())
    assert names >= {"OTEL_TRACES_SAMPLER_ARG", "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"}
    assert names <= PLACES.keys() | set(UNUSED)


@pytest.mark.parametrize(
    ("variables", "spans_to", "metrics_to"),
    [
        ({}, None, None),
        (
            {"EXPORTER_OTLP_ENDPOINT": f"{BASE}/"},
            Destination(f"{BASE}/v1/traces", None),
            Destination(f"{BASE}/v1/metrics", None),
        ),
        ({"EXPORTER_OTLP_TRACES_ENDPOINT": TRACES}, Destination(TRACES, None), None),
        ({"EXPORTER_OTLP_METRICS_ENDPOINT": METRICS}, None, Destination(METRICS, None)),
        (
            {"EXPORTER_OTLP_ENDPOINT": BASE, "EXPORTER_OTLP_TRACES_ENDPOINT": TRACES, "EXPORTER_OTLP_TIMEOUT": "3"},
            Destination(TRACES, 3),
            Destination(f"{BASE}/v1/metrics", 3),
        ),
        (
            {"EXPORTER_OTLP_ENDPOINT": BASE, "EXPORTER_OTLP_TRACES_TIMEOUT": "7", "EXPORTER_OTLP_TIMEOUT": "3"},
            Destination(f"{BASE}/v1/traces", 7),
            Destination(f"{BASE}/v1/metrics", 3),
        ),
        ({"EXPORTER_OTLP_ENDPOINT": BASE, "TRACES_EXPORTER": "none"}, None, Destination(f"{BASE}/v1/metrics", None)),
        ({"EXPORTER_OTLP_ENDPOINT": BASE, "METRICS_EXPORTER": "none"}, Destination(f"{BASE}/v1/traces", None), None),
    ],
)
def test_a_variable_of_one_signal_goes_before_that_of_all(
    monkeypatch: pytest.MonkeyPatch,
    variables: Mapping[str, str],
    spans_to: Destination | None,
    metrics_to: Destination | None,
) -> None:
    settings = given(monkeypatch, variables)
    assert (settings.spans_to, settings.metrics_to) == (spans_to, metrics_to)


async def test_spans_alone_are_sent_with_their_own_headers_and_time(
    monkeypatch: pytest.MonkeyPatch, exports: list[Export]
) -> None:
    variables = {
        "EXPORTER_OTLP_TRACES_ENDPOINT": TRACES,
        "EXPORTER_OTLP_TRACES_HEADERS": "authorization=Bearer%20t0ken",
        "EXPORTER_OTLP_HEADERS": "authorization=other",
        "EXPORTER_OTLP_TRACES_TIMEOUT": "77",
    }
    await export(given(monkeypatch, variables))
    (sent,) = exports
    assert sent.url == TRACES
    assert sent.headers["authorization"] == "Bearer t0ken"
    assert 70 < sent.timeout <= 77  # what is left of it


async def test_metrics_alone_are_sent_with_their_own_headers_and_time(
    monkeypatch: pytest.MonkeyPatch, exports: list[Export]
) -> None:
    variables = {
        "EXPORTER_OTLP_METRICS_ENDPOINT": METRICS,
        "EXPORTER_OTLP_METRICS_HEADERS": "authorization=Bearer t0ken",
        "EXPORTER_OTLP_TIMEOUT": "77",
    }
    await export(given(monkeypatch, variables))
    assert {sent.url for sent in exports} == {METRICS}
    assert all(sent.headers["authorization"] == "Bearer t0ken" and 70 < sent.timeout <= 77 for sent in exports)


async def test_exports_have_a_short_time_without_a_variable(
    monkeypatch: pytest.MonkeyPatch, exports: list[Export]
) -> None:
    await export(given(monkeypatch, {"EXPORTER_OTLP_ENDPOINT": BASE}))
    assert {sent.url for sent in exports} == {f"{BASE}/v1/traces", f"{BASE}/v1/metrics"}
    assert all(0 < sent.timeout <= EXPORT_TIMEOUT for sent in exports)


def test_what_only_the_sdk_refuses_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings check all that today's SDK reads, but a later one may read more."""
    settings = given(monkeypatch, {"EXPORTER_OTLP_ENDPOINT": BASE})
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-4711")
    with pytest.raises(SettingsError) as refused:
        Telemetry("test", settings)
    said, *names = re.split(r": |, ", str(refused.value))
    assert said == "OpenTelemetry's SDK refuses one of its variables"
    assert {"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_EXPORTER_OTLP_ENDPOINT"} <= set(names)
    assert all(re.fullmatch("OTEL_[A-Z_]+", name) for name in names)
