"""Logging: one JSON object a line, with service and trace."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tidings.telemetry.logs import configure_logging, current_service
from tidings.text import one_line
from unit.fakes import in_span

LOGGER = logging.getLogger("tidings.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is written to the log; logging is as before afterwards."""
    root = logging.getLogger()
    names = ("tidings", "tidings_auth", "tidings_messages", "tidings_log_consumer", "tidings_local")
    before = root.handlers[:], root.level, {name: logging.getLogger(name).level for name in names}
    stream = io.StringIO()
    configure_logging("INFO", stream)
    yield stream
    root.handlers[:], level, levels = before
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_outside_any_trace_has_null_for_it(stream: io.StringIO) -> None:
    LOGGER.info("started %d of %s", 1, "two")
    (line,) = lines(stream)
    assert line.pop("time")
    assert line == {
        "level": "INFO",
        "logger": "tidings.test",
        "message": "started 1 of two",
        "service": "tidings",
        "trace_id": None,
        "span_id": None,
    }


def test_a_line_inside_a_span_has_its_ids_and_its_service(stream: io.StringIO) -> None:
    token = current_service.set("tidings-messages")
    try:
        with in_span() as (trace_id, span_id):
            LOGGER.warning("inside")
    finally:
        current_service.reset(token)
    (line,) = lines(stream)
    assert (line["trace_id"], line["span_id"], line["service"]) == (trace_id, span_id, "tidings-messages")


def test_korean_is_written_as_it_is_and_a_line_break_stays_in_its_line(stream: io.StringIO) -> None:
    LOGGER.info('기록합니다 🌤\n{"level": "forged"}')
    assert "기록합니다 🌤" in stream.getvalue()
    (line,) = lines(stream)
    assert line["message"] == '기록합니다 🌤\n{"level": "forged"}'


def test_an_exception_comes_with_its_text_in_one_line(stream: io.StringIO) -> None:
    try:
        raise RuntimeError("what is wrong")
    except RuntimeError:
        LOGGER.exception("it failed")
    (line,) = lines(stream)
    assert line["message"] == "it failed"
    assert "RuntimeError: what is wrong" in line["exc_info"]


def test_extra_fields_are_kept(stream: io.StringIO) -> None:
    LOGGER.info("with", extra={"event_id": "one"})
    assert lines(stream)[0]["event_id"] == "one"


def test_libraries_log_warnings_and_worse_and_our_own_lines_from_the_given_level(stream: io.StringIO) -> None:
    logging.getLogger("sqlalchemy").info("chatter")
    logging.getLogger("sqlalchemy").warning("trouble")
    logging.getLogger("tidings_auth").debug("detail")
    logging.getLogger("tidings_auth").info("news")
    assert [line["message"] for line in lines(stream)] == ["trouble", "news"]


def test_configuring_twice_writes_each_line_once(stream: io.StringIO) -> None:
    configure_logging("DEBUG", stream)
    LOGGER.debug("once")
    assert [line["message"] for line in lines(stream)] == ["once"]


def test_no_part_of_a_line_has_a_secret(stream: io.StringIO) -> None:
    canary = "canary-4711"
    try:
        raise RuntimeError(f"no connection to mysql://tidings:{canary}@db/x\nCookie: session={canary}; b={canary}")
    except RuntimeError:
        LOGGER.exception(
            "password=%s for %s",
            canary,
            "mina",
            extra={"headers": {"Authorization": canary, "x": [f"Bearer {canary}"]}, "who": "mina"},
        )
    assert "canary" not in stream.getvalue()
    (line,) = lines(stream)
    assert line["message"] == "password=[redacted]"
    assert line["headers"] == {"Authorization": "[redacted]", "x": ["[redacted]"]}
    assert line["who"] == "mina"
    assert "mysql://[redacted]@db/x" in line["exc_info"]


@pytest.mark.parametrize(
    "text",
    ['a\n{"level": "ERROR"}', "a\u2028b\u2029c\u0085d", "a\x1b[2J\x9b2J\x7f", "a\u202eb\u2066\u200b\ufeff\U000e0041"],
    ids=ascii,
)
def test_stranger_text_cannot_forge_or_hide_a_line(stream: io.StringIO, text: str) -> None:
    LOGGER.info("said %s", text, extra={"device": text})
    written = stream.getvalue().removesuffix("\n")
    assert written.splitlines() == [written]
    assert one_line(written) == written
    record = json.loads(written)
    assert (record["message"], record["device"]) == (f"said {text}", text)


def test_visible_text_is_readable_in_a_log_line(stream: io.StringIO) -> None:
    LOGGER.info("안녕 🌤 é")
    assert "안녕 🌤 é" in stream.getvalue()
