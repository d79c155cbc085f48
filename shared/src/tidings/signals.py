"""Signals: SIGINT and SIGTERM end the process in order; imports nothing heavy, so that a command can begin with it."""

import signal
import sys
from types import FrameType
from typing import NoReturn


def end_on_signals() -> None:
    """Have SIGINT and SIGTERM end the process with exit code 0, after what is being left has been left in order.

    uvicorn drains first and raises the signal again afterwards; without this the signal's default would end the process
    as if it had been killed.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)
