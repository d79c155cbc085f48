"""Signing in from addresses of the test's choice: every address of 127.0.0.0/8 is this machine's own."""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx


@dataclass(frozen=True)
class Answer:
    """What one call was answered, and how long it took."""

    status: int
    headers: Mapping[str, str]
    seconds: float


def from_address(url: str, address: str) -> httpx.AsyncClient:
    """Return a client of `url` whose address is `address`, e.g. `127.0.0.2`."""
    return httpx.AsyncClient(base_url=url, transport=httpx.AsyncHTTPTransport(local_address=address), timeout=15)


def log_in(url: str, address: str, body: Mapping[str, Any]) -> Answer:
    """Try to sign in from `address` on a connection of its own; only the call itself is timed."""
    place = urlsplit(url)
    assert place.hostname
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=15, source_address=(address, 0))
    try:
        connection.connect()
        started = time.perf_counter()
        connection.request("POST", "/api/login", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        seconds = time.perf_counter() - started
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, headers, seconds)
    finally:
        connection.close()
