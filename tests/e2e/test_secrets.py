"""Secrets: a password and a token that went through the whole system are found nowhere afterwards."""

import secrets
from collections.abc import Iterator

import httpx
import pytest

from support.client import eventually
from support.collector import Collector
from support.system import System

CANARY = "canary-password-7c1b2e"


@pytest.fixture
def http(system: System) -> Iterator[httpx.Client]:
    with system.client() as client:
        yield client


def test_no_secret_is_left_in_logs_spans_or_the_log(http: httpx.Client, system: System, collector: Collector) -> None:
    username = f"secretive-{system.kind}"
    good = {"username": username, "password": CANARY}
    assert http.post("/api/register", json=good).status_code == 201
    assert http.post("/api/register", json=good).status_code == 409
    assert http.post("/api/login", json={"username": username, "password": f"{CANARY}-wrong"}).status_code == 401
    assert http.post("/api/login", json={"username": CANARY, "password": CANARY}).status_code == 401
    assert http.post("/api/login", content=f'{{"password": "{CANARY}"', headers={"content-type": "application/json"})
    answer = http.post("/api/login", json=good)
    token: str = answer.json()["access_token"]
    me = {"Authorization": f"Bearer {token}"}
    trace_id = http.post("/api/messages", json={"message": "hello"}, headers=me).json()["trace_id"]
    http.get("/api/me", headers={"Authorization": f"Bearer {token}x"})
    careless_trace = secrets.token_hex(16)
    careless = {"Cookie": f"session={CANARY}", "baggage": f"who=Bearer%20{CANARY}", "tracestate": f"token={CANARY}"}
    careless |= {"traceparent": f"00-{careless_trace}-00f067aa0ba902b7-01"}
    for path in ("/api/messages", "/api/nowhere"):
        http.get(f"{path}?limit=1&access_token={CANARY}", headers=me | careless)
    collector.wait_for(trace_id, lambda spans: any(span.name == "store entry" for span in spans))
    collector.wait_for(careless_trace, lambda spans: sum(span.name == "store entry" for span in spans) == 2)
    collector.wait_for(answer.headers["x-trace-id"], lambda spans: any(span.name == "log in" for span in spans))
    eventually(lambda: http.get("/api/logs", headers=me).json()["items"], lambda items: len(items) >= 3)

    censored = b"limit=1&access_token=[redacted]"
    spans = eventually(lambda: b"".join(collector.raw), lambda raw: censored in raw)
    assert username.encode() in b"".join(bytes(http.get("/api/logs", headers=me).content).splitlines())
    signature = token.rsplit(".", 1)[1]
    assert censored in spans
    for secret in (CANARY, signature):
        assert secret not in system.output()
        assert secret.encode() not in spans
        assert secret not in http.get("/api/logs?limit=100", headers=me).text
