"""The launcher's life cycle: what every server can do."""

import atexit
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Self

from tidings_local.servers import child
from tidings_local.servers.errors import ServerFailed
from tidings_local.servers.ports import LOOPBACK, free_port, is_free
from tidings_local.servers.programs import require

START_SECONDS = 60.0
STOP_SECONDS = 15.0
_LOOK_SECONDS = 0.02
_LOG_LINES = 20


class Server(ABC):
    """One private server process, its data folder and its port.

    The port is chosen at construction and kept over stop and start, so that clients find the
    server again. A new object on the same folder and port finds the data as it was left. Use it
    as a context manager, or call `stop` in the end. One thread at a time may use it.
    """

    kind: ClassVar[str]
    """The name under which `missing` lists what this server needs."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self.port = free_port() if port is None else port
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def name(self) -> str:
        """What messages call this server."""
        return self.kind

    @property
    def log(self) -> Path:
        """The file with the server's output, over all its starts."""
        return self.folder / "server.log"

    @property
    def running(self) -> bool:
        """Whether the process lives; a paused one does."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers; nothing happens if it runs.

        Raises:
            ServerMissing: its program is not installed.
            ServerFailed: it ended at once, or did not answer within a minute; it is gone then.
        """
        self.launch()
        self.wait_for(self._answers)

    def stop(self) -> None:
        """Ask the server to end (SIGTERM), kill it after 15 seconds, and wait until it is gone."""
        self.ask_to_stop()
        self._reap(STOP_SECONDS)

    def kill(self) -> None:
        """Kill the server (SIGKILL) and wait until it is gone."""
        if self._child is not None:
            child.send(self._child, signal.SIGKILL)
            self._reap(STOP_SECONDS)

    def pause(self) -> None:
        """Stop the clock of the server (SIGSTOP): connections stay open, nothing answers.

        Returns when the last of its threads stands still; until then it could still answer.

        Raises:
            ServerFailed: it does not run.
        """
        self._send_running(signal.SIGSTOP)
        if self._child is not None:
            os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT).

        Raises:
            ServerFailed: it does not run.
        """
        self._send_running(signal.SIGCONT)

    def launch(self) -> None:
        """Start the process without waiting for its answer. For errors see `start`."""
        if self.running:
            return
        require(self.kind)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_ports()
        self._prepare()
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._child = child.spawn(self._command(), self.folder, self.log)
        atexit.register(self.kill)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition of the launched server holds; otherwise end it.

        Raises:
            ServerFailed: the process ended, or the condition did not hold within a minute.
        """
        try:
            self._watch(condition, time.monotonic() + START_SECONDS)
        except BaseException:
            # Ctrl-C too: what has not come up is of no use to anyone.
            self.kill()
            raise

    def ask_to_stop(self) -> None:
        """Send SIGTERM and return at once; a paused server goes on to heed it."""
        if self._child is not None:
            child.send(self._child, signal.SIGTERM)
            child.send(self._child, signal.SIGCONT)

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """The server's command line; it runs in the data folder."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server is ready for clients; an OSError means it is not."""

    def _prepare(self) -> None:  # noqa: B027 - not every server needs it
        """Make what the server needs in its folder before it starts."""

    def _ports(self) -> Sequence[int]:
        return [self.port]

    def _connect(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.port), timeout=1)

    def _check_ports(self) -> None:
        # Before the start: a stranger on the port would answer in the server's stead.
        for port in self._ports():
            if not is_free(port):
                raise ServerFailed(f"{self.name} cannot start: port {port} is in use")

    def _watch(self, condition: Callable[[], bool], deadline: float) -> None:
        while not self._holds(condition):
            if self._child is None or self._child.poll() is not None:
                raise self._failure("ended while starting")
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {START_SECONDS:.0f} seconds")
            time.sleep(_LOOK_SECONDS)

    def _holds(self, condition: Callable[[], bool]) -> bool:
        try:
            return self.running and condition()
        except OSError:
            return False

    def _failure(self, what: str) -> ServerFailed:
        return ServerFailed(f"{self.name} {what}; the end of {self.log}:\n{self._log_tail()}")

    def _log_tail(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])

    def _send_running(self, number: signal.Signals) -> None:
        if self._child is None or not self.running:
            raise ServerFailed(f"{self.name} is not running")
        child.send(self._child, number)

    def _reap(self, seconds: float) -> None:
        if self._child is not None:
            child.end(self._child, seconds)
            self._child = None
            atexit.unregister(self.kill)
