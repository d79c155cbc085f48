"""The terminal: how a command begins and ends, and output streams that never make a process fail.

The reader of a pipe may leave or stop reading, a terminal may be closed or lack a character, a disk may be full. None
of these is a reason to stop half-way. So a command replaces its output streams before it does anything else: what they
cannot write is dropped. This module imports nothing heavy, so that streams and signals are ready within a moment.
"""

import argparse
import codecs
import errno
import io
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn

from tidings.signals import interrupt_on_signals, restore_signals

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ESCAPE = "tidings.escape"
PATIENCE_SECONDS = 0.25
INTERRUPTED = 128 + signal.SIGINT


class OutputLost(Exception):
    """What a command exists to print could not be written; the message says why."""


class Listing(str):
    """Text that a command exists to print. The command has failed when its listing cannot be written.

    Any other text reports on work that is done, so its loss is not a failure.
    """

    harmless_losses: ClassVar[tuple[int, ...]] = (errno.EPIPE, errno.EBADF)
    """The reader left (`| head`), or there is no reader (`>&-`): whoever started the command wants no more output."""


class Document(Listing):
    """A listing of which nothing may be missing, such as a file of keys: a reader that left is a failure, too."""

    harmless_losses = ()


class Stream(io.TextIOWrapper):
    """A text stream to a file descriptor; it escapes what its encoding lacks, and drops what cannot be written."""

    def __init__(self, number: int, encoding: str) -> None:
        codecs.register_error(ESCAPE, _escaped)
        self.descriptor = _Descriptor(number)
        # Without a buffer: its lock would refuse a signal handler that writes while the main program does.
        super().__init__(self.descriptor, encoding=encoding, errors=ESCAPE, write_through=True)


class _Descriptor(io.FileIO):
    """A file descriptor that drops what it cannot write, and keeps the reason."""

    def __init__(self, number: int) -> None:
        self.failure: OSError | None = _open_if_closed(number)
        self.patience: float | None = None
        """Seconds to wait for a reader that does not read; `None`: for as long as that takes."""
        self._stalled = False
        super().__init__(number, "wb", closefd=False)

    def write(self, data: "ReadableBuffer", /) -> int:
        octets = memoryview(data).cast("B")
        left = octets
        try:
            while left and self._is_ready():
                # No more at once than a pipe that is ready takes without blocking.
                left = left[super().write(left[: select.PIPE_BUF]) or 0 :]
        except OSError as error:
            self.failure = error
        return len(octets)

    def _is_ready(self) -> bool:
        """Wait until the descriptor can be written; return whether it can before patience ends."""
        _, ready, _ = select.select([], [self], [], 0 if self._stalled else self.patience)
        self._stalled = not ready
        return bool(ready)


def run_command(main: Callable[[], int]) -> NoReturn:
    """Run the main function of a command line and end the process with the exit code that it returns.

    The exit code is 1 when an argument is not UTF-8 or a listing cannot be written, and 130 after an interruption.

    Args:
        main: imports what it needs by itself, so that its imports are protected, too.
    """
    _replace_streams()
    interrupt_on_signals()
    try:
        code = _decode_arguments(sys.argv) or main()
    except OutputLost as error:
        complain(f"standard output cannot be written: {error}")
        code = 1
    except KeyboardInterrupt:
        complain("interrupted")
        code = INTERRUPTED
    restore_signals()  # an interruption while Python itself ends would print a traceback
    sys.exit(code)


def say(text: str) -> None:
    """Write a line to standard output.

    Raises:
        OutputLost: `text` is a `Listing` and cannot be written, although somebody wants it.
    """
    sys.stdout.write(text + "\n")
    failure = output_failure()
    if isinstance(text, Listing) and failure and failure.errno not in text.harmless_losses:
        raise OutputLost(failure.strerror)


def complain(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(text + "\n")


def output_failure() -> OSError | None:
    """Return why standard output has lost something, if it has."""
    return sys.stdout.descriptor.failure if isinstance(sys.stdout, Stream) else None


def drop_what_nobody_reads() -> None:
    """Have a process that serves others drop output rather than wait for a reader that does not read."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Stream):
            stream.descriptor.patience = PATIENCE_SECONDS


def path_argument(text: str) -> Path:
    """Return the path in an argument; raise when there is none, which `Path` would take for the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; name a file or folder")
    return file_path(text)


def file_path(text: str) -> Path:
    """Return the path of a file that is named in an argument, also where the locale's encoding lacks its characters."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return Path(os.fsdecode(text.encode()))  # the octets that `_decode_arguments` took for UTF-8
    return Path(text)


def _replace_streams() -> None:
    if _open_if_closed(0):
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # it lives as long as the process
    sys.stdout = Stream(1, getattr(sys.stdout, "encoding", "utf-8"))
    sys.stderr = Stream(2, getattr(sys.stderr, "encoding", "utf-8"))


def _open_if_closed(number: int) -> OSError | None:
    """Open a closed standard stream on nothing, and return what was wrong with it.

    Otherwise the next file that is opened would get its number: a database would be written log lines into.
    """
    try:
        os.fstat(number)
    except OSError as error:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, number)
        os.set_inheritable(number, True)
        if nothing != number:
            os.close(nothing)
        return error
    return None


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Return characters that an encoding lacks as JSON escapes them, so that JSON stays JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _decode_arguments(arguments: list[str]) -> int:
    """Read as UTF-8, in place, the arguments that the locale's encoding cannot read, such as that of `LC_ALL=C`.

    Returns 1, after a line that says so, when an argument is not UTF-8 either; else 0. The line does not repeat the
    argument, which may be a password in the wrong place.
    """
    for position, argument in enumerate(arguments):
        if any("\ud800" <= character <= "\udfff" for character in argument):  # how Python keeps undecodable bytes
            try:
                arguments[position] = os.fsencode(argument).decode()
            except UnicodeDecodeError:
                complain(
                    f"argument {position} is not valid UTF-8: type it again where the terminal and locale use UTF-8"
                )
                return 1
    return 0
