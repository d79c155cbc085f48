"""The log of the test's own process, as a service writes it."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tidings.telemetry.logs import configure_logging


@contextmanager
def logged(level: str) -> Iterator[io.StringIO]:
    """Give what is written to the log from `level` on; logging is as before afterwards."""
    root = logging.getLogger()
    handlers, before = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(level, stream)
    try:
        yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)
