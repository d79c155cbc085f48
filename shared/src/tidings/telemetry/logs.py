"""Logging: one JSON object a line on standard error, with service, trace id and span id wherever there are any.

The context comes from `contextvars`, so a line written at start-up, in a task or in the consumer is as good as one
written in a request. Secrets are redacted in all of a line: message, exception and extra fields.
"""

import logging
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

from tidings.events.redaction import redact_json, redact_text
from tidings.known_secrets import mask
from tidings.telemetry.propagation import current_span_context
from tidings.text import safe_json

logger = logging.getLogger(__name__)

current_service: ContextVar[str] = ContextVar("current_service", default="tidings")
"""The service that the running code belongs to; set where a service's tasks and requests begin."""

QUIET = ("aiokafka", "opentelemetry.trace.span", "opentelemetry.baggage.propagation")
"""Libraries that say what our own lines say better, or repeat what a stranger sent (a malformed `tracestate`)."""

FIELDS = "{asctime}{levelname}{name}{message}{service}{trace_id}{span_id}"


OWN_FIELDS = frozenset({"time", "level", "logger", "service", "trace_id", "span_id"})
"""Fields that no secret gets into, and that must stay readable when a secret is a word of theirs."""


def _masked(value: Any) -> Any:
    """Return a value of a line without the secrets that the settings hold."""
    if isinstance(value, dict):
        return {_masked(name): _masked(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_masked(part) for part in value]
    return value if value is None or isinstance(value, (bool, int, float)) else mask(str(value))


class _Lines(JsonFormatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # logging's name
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")

    def process_log_record(self, log_data: LogData) -> LogData:  # the formatter's name for the step before
        return {name: value if name in OWN_FIELDS else _masked(value) for name, value in log_data.items()}

    def jsonify_log_record(self, log_data: LogData) -> str:  # the formatter's name for the last step
        line = super().jsonify_log_record(log_data)
        try:
            redacted = redact_json(line.encode(errors="replace"), redact_text)[0].decode()
        except ValueError:  # nested deeper than JSON is read here
            redacted = redact_text(line)
        return safe_json(redacted)


class _Context(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        context = current_span_context()
        record.service = current_service.get()
        record.trace_id = f"{context.trace_id:032x}" if context else None
        record.span_id = f"{context.span_id:016x}" if context else None
        return True


def configure_logging(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (standard error when not given) as JSON.

    Args:
        level: the least severe level of Tidings' own lines; libraries log warnings and worse.
        stream: where lines go.
    """
    formatter = _Lines(
        FIELDS,
        style="{",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        json_ensure_ascii=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_Context())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("tidings", "tidings_auth", "tidings_messages", "tidings_log_consumer", "tidings_local"):
        logging.getLogger(name).setLevel(level)


def log_uncaught_errors() -> None:
    """Have an error that nobody catches, in whatever thread, written to the log, and so without secrets."""
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda error: _log_uncaught(error.exc_type, error.exc_value, error.exc_traceback)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if issubclass(kind, Exception):
        logger.critical("an error that nobody caught", exc_info=(kind, error or kind(), traceback))
    elif error is not None:
        sys.__excepthook__(kind, error, traceback)
