"""Signals: what Ctrl-C, SIGTERM and a closed terminal do; imports nothing heavy, so a command can begin with it."""

import signal
import sys
from types import FrameType
from typing import NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_requested = False
STILL_STOPPING = "still shutting down; one more Ctrl-C ends the process at once, and what is not stored yet is lost"


class Interrupted(KeyboardInterrupt):
    """A signal interrupted a command.

    It has a class of its own because Python ends `python -m` by SIGINT, whatever the exit code, once a plain
    `KeyboardInterrupt` has left code that `exec` runs, such as the definition of a data class.
    """


def interrupt_on_signals() -> None:
    """Have SIGINT, SIGTERM and SIGHUP raise `Interrupted` wherever the process is.

    With Python's own handler of SIGINT, asyncio would replace it by one that only cancels a task: a question for a
    password, which blocks the loop, would go on.
    """
    for number in STOPPING:
        _handle(number, _interrupt)


def end_on_signals() -> None:
    """Have SIGINT, SIGTERM and SIGHUP end the process with exit code 0, after everything open is closed in order.

    uvicorn drains first and raises the signal again afterwards. Without this function the signal's default action would
    then end the process as if it had been killed.
    """
    _handle(signal.SIGINT, _end)
    _handle(signal.SIGTERM, _end)
    # uvicorn does not know SIGHUP, so it is passed on as the one that uvicorn or `_end` handles at that moment.
    _handle(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


def keep_stopping(number: int, _frame: FrameType | None = None) -> None:
    """Let the shutdown under way finish, whatever signal repeats the first.

    A second Ctrl-C arms a third one, which ends the process at once. One press may arrive as two signals (from the
    terminal and from a program in between), so the second alone must not cut anything short.
    """
    if number == signal.SIGINT:
        sys.stderr.write(f"{STILL_STOPPING}\n")
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def restore_signals() -> None:
    """Have each signal end the process by its default action."""
    for number in STOPPING:
        _handle(number, signal.SIG_DFL)


def _handle(number: signal.Signals, handler: "signal._HANDLER") -> None:
    """Set a signal's handler; SIGHUP stays ignored where it is (`nohup`)."""
    if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted


def stop_is_requested() -> bool:
    """Return whether a signal asked for the end that `end_on_signals` arranges.

    Python drops the exception of a signal handler that interrupts a finalizer. A process that goes on then asks here.
    """
    return _requested


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    global _requested
    _requested = True
    for number in STOPPING:
        _handle(number, keep_stopping)
    sys.exit(0)
