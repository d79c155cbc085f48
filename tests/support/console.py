"""A console: commands run as a shell runs them, with their streams redirected, or at a terminal of their own."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

SECONDS = 60


def python(*words: str | bytes) -> list[str | bytes]:
    """Return the command line of `python -m` with these words."""
    return [sys.executable, "-m", *words]


def redirected(
    redirection: str, command: list[str | bytes], environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command with a redirection of the shell's, such as `>&-`, and return its end and its standard error."""
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$@" {redirection}', "bash", *command],
        env=os.environ | dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )


class Terminal:
    """A terminal with one command in it, whose process leads the session as a login shell does.

    Args:
        command: the command line.
        environment: set besides that of the tests.
        folder: where the command runs; here when not given.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str], folder: Path | None = None) -> None:
        self._end: int | None = None
        self._output = b""
        self.process, self._descriptor = pty.fork()
        if self.process == 0:  # pragma: no cover  # another program by the time that coverage is written
            try:
                os.chdir(folder or Path.cwd())
                os.execvpe(command[0], command, os.environ | dict(environment))  # noqa: S606  # no shell is meant
            finally:
                os._exit(127)

    def press(self, keys: str) -> None:
        """Type keys, as a person does: `\\x03` is Ctrl-C."""
        os.write(self._descriptor, keys.encode())

    def output(self, until: str = "", seconds: float = SECONDS) -> str:
        """Return everything that was printed so far, once `until` is in it; without it, once the command has ended."""
        end = time.monotonic() + seconds
        while not until or until not in self._text():
            assert time.monotonic() < end, f"{until or 'the end'} does not come:\n{self._text()}"
            if select.select([self._descriptor], [], [], 0.1)[0] and not self._read():
                break
        assert until in self._text(), self._text()
        return self._text()

    def hang_up(self) -> None:
        """Close the terminal, as closing its window does; its process gets SIGHUP."""
        os.close(self._descriptor)
        self._descriptor = -1

    def wait(self) -> int:
        """Return the exit code once the command has ended; the negative of the signal when one has killed it."""
        end = time.monotonic() + SECONDS
        while self._end is None:
            if self._descriptor >= 0 and select.select([self._descriptor], [], [], 0.05)[0]:
                self._read()
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                self._end = os.waitstatus_to_exitcode(status)
            assert time.monotonic() < end, f"it does not end:\n{self._text()}"
        return self._end

    def close(self) -> None:
        """End the command if it still runs, and the terminal."""
        if self._end is None:
            os.kill(self.process, 9)
            self.wait()
        if self._descriptor >= 0:
            self.hang_up()

    def _text(self) -> str:
        return self._output.decode(errors="replace").replace("\r\n", "\n")

    def _read(self) -> bool:
        try:
            octets = os.read(self._descriptor, 65536)
        except OSError:  # Linux's way to say that nobody has the terminal open any more
            octets = b""
        self._output += octets
        if not octets:
            time.sleep(0.05)
        return bool(octets)
