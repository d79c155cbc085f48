"""The demo: a person registers, signs in and posts; then the journey of one post is printed as a tree with times."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from tidings.terminal import say
from tidings_local.settings import LocalSettings

MESSAGES = (
    "안녕하세요! 첫 소식을 전합니다.",
    "Hello from Tidings: every action leaves a trail.",
    "오늘 서울은 맑고 바람이 붑니다 🌤",
    "One trace id explains a request, from the call to the log.",
)
START_SECONDS = 60
EVENT_SECONDS = 15
STOP_SECONDS = 20


class DemoFailed(Exception):
    """Something did not happen that should have; the message says what."""


def demo(settings: LocalSettings) -> None:
    """Drive the instance at `PORT`, or one started for the purpose, and print what happened.

    Raises:
        DemoFailed: a call was refused, or an event did not arrive.
    """
    with _instance(settings) as url, httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
        name = f"demo-{secrets.token_hex(3)}"
        password = secrets.token_urlsafe(18)
        _call(client, "POST", "/api/register", json={"username": name, "password": password})
        token = _call(client, "POST", "/api/login", json={"username": name, "password": password})["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        say(f"\n{name} registered and signed in at {url}\n")
        posted = [_call(client, "POST", "/api/messages", json={"message": text}) for text in MESSAGES]
        for message in posted:
            say(f"  posted  {message['message']}")
        for message in posted:
            _events(client, message["trace_id"])
        say("\nThe journey of the first post, as the log tells it:\n")
        say(journey(_events(client, posted[0]["trace_id"])))


def journey(events: list[dict[str, Any]]) -> str:
    """Return the tree of one request's events, times relative to the start of the request."""
    call = next(event for event in events if event["type"] == "api.request")
    facts = sorted((event for event in events if event is not call), key=lambda event: event["occurred_at"])
    duration = call["data"]["duration_ms"]
    start = datetime.fromisoformat(call["occurred_at"]).timestamp() * 1000 - duration
    lines = [
        f"trace {call['trace_id']}",
        f"└─ {call['method']} {call['route']} → {call['status']}  in {duration:.1f} ms  ({call['service']})",
    ]
    for event in [*facts, call]:
        last = event is call
        lines.append(f"   {'└─' if last else '├─'} {event['type']}")
        bar = " " if last else "│"
        where = f"{event['topic']}[{event['partition']}]@{event['offset']}"
        for moment, at, note in (
            ("happened", "occurred_at", f"in {event['service']}"),
            ("published", "published_at", f"to {where}"),
            ("stored", "stored_at", "in the log"),
        ):
            offset = datetime.fromisoformat(event[at]).timestamp() * 1000 - start
            lines.append(f"   {bar}    {moment:<9} {max(offset, 0):+8.1f} ms  {note}")
    return "\n".join(lines)


def _call(client: httpx.Client, method: str, path: str, **options: Any) -> Any:
    try:
        answer = client.request(method, path, **options)
    except httpx.HTTPError as error:
        raise DemoFailed(f"{method} {path}: no answer from {client.base_url}: {error}") from None
    if answer.is_error:
        raise DemoFailed(f"{method} {path} answered {answer.status_code}: {answer.text}")
    return answer.json()


def _events(client: httpx.Client, trace_id: str) -> list[dict[str, Any]]:
    """Wait until the post and the call that made it are both in the log."""
    end = time.monotonic() + EVENT_SECONDS
    while time.monotonic() < end:
        events: list[dict[str, Any]] = _call(client, "GET", "/api/logs", params={"trace_id": trace_id})["items"]
        if {"message.created", "api.request"} <= {event["type"] for event in events}:
            return events
        time.sleep(0.05)
    raise DemoFailed(
        f"the events of trace {trace_id} did not reach the log within {EVENT_SECONDS} s; see /health/ready"
    )


@contextmanager
def _instance(settings: LocalSettings) -> Iterator[str]:
    """Use what runs at `PORT`; when nothing does, run one on a free port with a folder of its own."""
    if _answers(settings.url):
        yield settings.url
        return
    with TemporaryDirectory(prefix="tidings-demo-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        say(f"Nothing runs at {settings.url}; starting Tidings for the demo …")
        with _started(Path(folder), port) as url:
            yield url


@contextmanager
def _started(folder: Path, port: int) -> Iterator[str]:
    environment = {"TIDINGS_HOST": "127.0.0.1", "PORT": str(port), "DATA": str(folder / "var")}
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidings_local", "run"],
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > end:
                raise DemoFailed(f"Tidings did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=STOP_SECONDS)


def _answers(url: str) -> bool:
    """Tell whether a Tidings that is ready answers at `url`."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
