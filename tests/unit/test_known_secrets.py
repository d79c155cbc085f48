"""Known secrets: whatever a library says, no part of a secret setting gets into a log, an answer or a message.

A canary stands in every secret setting, in all the ways that a message may write it.
"""

import argparse
import io
import json
import logging
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any, NoReturn

import pytest
from fastapi import APIRouter, FastAPI
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from support.settings import COMPLETE, PLACES, SECRET
from tidings.commands import Command, CommandFailed, main
from tidings.composition import Parts
from tidings.http import problems
from tidings.http.health import Check, Health, readiness
from tidings.http.problems import Problem
from tidings.known_secrets import PART, SHORTEST, clean, mask
from tidings.settings import Settings, load
from tidings.telemetry.logs import configure_logging, log_uncaught_errors
from tidings.telemetry.setup import Telemetry
from tidings_messages.settings import MessagesSettings
from unit.fakes import client

CANARY = "canary'\"\\ÄÖ @:/?#%47quokka-wombat"
"""A secret that every notation writes in another way."""
PLAIN = "canary-quokka-wombat"
"""What can be in a variable that takes no percent escapes; `canary` is looked for."""
ENCODED = urllib.parse.quote(CANARY, safe="")
GIVEN = {
    "TIDINGS_DATABASE_URL": f"mysql+aiomysql://tidings:{ENCODED}@127.0.0.1:9/tidings",
    "TIDINGS_REDIS_URL": f"redis://:{ENCODED}@127.0.0.1:9/0",
    "TIDINGS_KAFKA_SASL_PASSWORD": CANARY,
    "TIDINGS_ACTIVITY_ADDRESS_KEY": CANARY,
    "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{ENCODED},x=y",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"x-api-key={ENCODED}",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS": f"x-api-key={PLAIN}",
}
OTHERS = {"TIDINGS_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "TIDINGS_KAFKA_SASL_USERNAME": "tidings"}


def said_of(name: str) -> str:
    """Return a text with all that a library may make of a secret setting."""
    whole = GIVEN[name]
    secret = PLAIN if PLAIN in whole else CANARY
    notations = (
        f"cannot use {whole}",
        f"cannot use {whole!r}",
        f"no host {secret}@127.0.0.1",
        f"argument {secret!r}",
        f"got {json.dumps({'value': secret})} and {json.dumps(secret, ensure_ascii=False)}",
        f"GET http://x/{urllib.parse.quote(secret, safe='')}?q={urllib.parse.quote_plus(secret)}",
        f"pre{secret}post",
    )
    return "; ".join(notations)


every_secret = pytest.mark.parametrize("name", sorted(GIVEN))


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (COMPLETE | OTHERS | GIVEN).items():
        monkeypatch.setenv(name, value)
    load(MessagesSettings)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is written to the log; logging and the hooks are as before afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    stream = io.StringIO()
    configure_logging("DEBUG", stream)
    yield stream
    root.handlers[:], level, sys.excepthook, threading.excepthook = before
    root.setLevel(level)


def shows(text: str) -> bool:
    """Return whether any part of the canary is in `text`."""
    return any(part in text for part in ("canary", "quokka", "wombat", "%C3%84", "ÄÖ", "\\u00c4"))


def test_every_secret_setting_has_a_canary() -> None:
    assert GIVEN.keys() == SECRET <= PLACES.keys()


@every_secret
def test_no_text_keeps_a_secret(name: str) -> None:
    text = said_of(name)
    assert shows(text)
    assert not shows(mask(text))
    assert not shows(clean(text))


@every_secret
def test_no_log_line_shows_a_secret(name: str, log: io.StringIO) -> None:
    text = said_of(name)
    try:
        try:
            raise ValueError(text)
        except ValueError as cause:
            raise RuntimeError(text) from cause
    except RuntimeError as error:
        logging.getLogger("tidings").exception("%s", text, extra={"more": {text: [text, error]}, "raw": text})
    (line,) = map(json.loads, log.getvalue().splitlines())
    assert "RuntimeError" in line["exc_info"]
    assert not shows(log.getvalue())


@every_secret
async def test_no_health_reason_shows_a_secret(name: str, log: io.StringIO) -> None:
    async def fail() -> None:
        raise ConnectionError(said_of(name))

    found = await readiness(Health({"it": Check(fail, name)}))
    assert found.dependencies["it"].reason
    assert not shows(found.model_dump_json())
    assert "is not usable" in log.getvalue()
    assert not shows(log.getvalue())


@every_secret
async def test_no_death_of_a_loop_shows_a_secret(name: str, log: io.StringIO) -> None:
    async def die() -> None:
        raise RuntimeError(said_of(name))

    async def stop(task: Any, _: float) -> None:
        await task

    async with AsyncExitStack() as stack:
        parts = Parts(stack, Telemetry("test"))
        parts.background("loop", die, stop, 1)
    assert len(parts.health.died) == 1
    assert "the loop died" in log.getvalue()
    assert not shows(str(parts.health.died) + log.getvalue())


class Refused(Exception):
    """Answered with its own words."""


@every_secret
async def test_no_problem_shows_a_secret(name: str) -> None:
    app, router = FastAPI(), APIRouter()

    @router.get("/")
    async def refuse() -> None:
        raise Refused(said_of(name))

    app.include_router(router)
    problems.install(app, {Refused: Problem(409, "refused", "Refused.")})
    async with client(app) as http:
        answer = await http.get("/")
    assert answer.status_code == 409
    assert not shows(answer.text + answer.json()["detail"])


@every_secret
def test_no_span_shows_a_secret(name: str) -> None:
    text, exporter = said_of(name), InMemorySpanExporter()
    telemetry = Telemetry("test", span_exporter=exporter)

    def work() -> None:
        with telemetry.tracer.start_as_current_span("work", attributes={"detail": text}):
            raise RuntimeError(text)

    with pytest.raises(RuntimeError):
        work()
    telemetry.tracer_provider.force_flush()
    (exported,) = exporter.get_finished_spans()
    assert exported.events
    assert not shows(repr([exported.attributes, exported.status.description, [e.attributes for e in exported.events]]))
    telemetry.tracer_provider.shutdown()


@every_secret
def test_no_failed_command_shows_a_secret(name: str, log: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: argparse.Namespace, __: Settings) -> NoReturn:
        raise CommandFailed(said_of(name))

    def no_app(_: MessagesSettings) -> NoReturn:
        raise AssertionError("it is not built for this")

    command = Command("fail", "fail", Settings, fail)
    assert main("tidings_messages", MessagesSettings, no_app, ["fail"], commands=[command]) == 1
    said = capsys.readouterr()
    assert "[redacted]" in said.err
    assert not shows(said.out + said.err)


@every_secret
def test_no_uncaught_error_shows_a_secret(name: str, log: io.StringIO) -> None:
    def fail() -> NoReturn:
        raise RuntimeError(said_of(name))

    log_uncaught_errors()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["an error that nobody caught"] * 2
    assert all("RuntimeError" in line["exc_info"] for line in lines)
    assert not shows(log.getvalue())


def test_an_interrupt_is_not_an_error_of_the_log(log: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    log_uncaught_errors()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert log.getvalue() == ""
    assert "KeyboardInterrupt" in capsys.readouterr().err


def test_names_and_hosts_of_addresses_stay_readable() -> None:
    assert mask("tidings at 127.0.0.1:9: refused") == "tidings at 127.0.0.1:9: refused"


def test_what_stands_beside_a_secret_in_its_setting_stays_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "TIDINGS_DATABASE_URL", "mysql+aiomysql://tidings_messages:peculiar-quokka@database.example:3306/x"
    )
    monkeypatch.setenv("TIDINGS_ACTIVITY_ADDRESS_KEY", "a key, in base64; QUJDREVGR0g==")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20opaque-wombat,x-tenant-name=y")
    load(MessagesSettings)
    said = "access denied for tidings_messages at database.example:3306: authorization, x-tenant-name, y, in, a = b"
    assert mask(said) == said
    assert mask("tidings_messages:peculiar-quokka Bearer opaque-wombat") == "[redacted] [redacted]"


def test_address_without_a_password_stays_readable_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_REDIS_URL", "redis://redis.example:6379/0")
    monkeypatch.setenv("TIDINGS_DATABASE_URL", "sqlite+aiosqlite:////tmp/messages-of-tidings.db")
    load(MessagesSettings)
    said = "cannot connect to redis.example:6379; cannot open messages-of-tidings.db"
    assert mask(said) == said


def test_the_fields_of_a_line_keep_words_that_a_secret_has(monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> None:
    monkeypatch.setenv("TIDINGS_REDIS_URL", "redis://:peculiar@redis:6379/0")
    load(MessagesSettings)
    logging.getLogger("tidings.peculiar").warning("said peculiar")
    (line,) = map(json.loads, log.getvalue().splitlines())
    assert (line["logger"], line["message"]) == ("tidings.peculiar", "said [redacted]")


def test_short_secret_is_masked_as_a_word_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_REDIS_URL", "redis://:qz@redis:6379/0")
    load(MessagesSettings)
    assert len("qz") < SHORTEST
    said = "'AUTH' 'default' 'qz', args: `qz`, and redis://:qz@redis:6379/0"
    assert mask(said) == "'AUTH' 'default' '[redacted]', args: `[redacted]`, and [redacted]"
    assert mask("qzar at Iqz") == "qzar at Iqz"


@pytest.mark.parametrize("around", ["`{}`", "{}", "args beginning with: `3`, `AUTH`, `default`, `{}`", "x{}y"])
def test_part_of_a_secret_is_masked_wherever_it_was_cut(around: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "".join(f"{number:x}" for number in range(70, 170))
    monkeypatch.setenv("TIDINGS_REDIS_URL", f"redis://:{secret}@redis:6379/0")
    load(MessagesSettings)
    for start in range(0, len(secret) - PART, 7):
        for end in {*range(start + PART, len(secret), 13), len(secret)}:
            for shift in range(PART):
                text = "-" * shift + around.format(secret[start:end])
                assert mask(text) == "-" * shift + around.format("[redacted]"), (start, end, shift)
    some = secret[3 : 3 + PART - 1]
    assert mask(f"-{some}-") == f"-{some}-"


def test_parts_of_several_secrets_in_one_text_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = "first-secret-of-this-test", "second-secret-of-that-test"
    monkeypatch.setenv("TIDINGS_REDIS_URL", f"redis://:{first}@redis:6379/0")
    monkeypatch.setenv("TIDINGS_ACTIVITY_ADDRESS_KEY", second)
    load(MessagesSettings)
    text = f"a {first[:12]} b {second[5:]} c {first} d {first[:15]}{second[:15]} e"
    assert mask(text) == "a [redacted] b [redacted] c [redacted] d [redacted][redacted] e"
