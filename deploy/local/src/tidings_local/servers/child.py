"""The launcher's child processes: spawned so that they never outlive the launcher."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path


def spawn(command: Sequence[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a command in a folder, its output appended to a log file.

    It has a session of its own, so that Ctrl-C in the terminal reaches only the owner, who stops
    servers in order.
    """
    return _spawner().submit(_spawn, command, folder, log).result()


def send(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a child and whatever it has started itself; nothing happens if it has ended."""
    if child.poll() is None:
        os.killpg(child.pid, number)


def end(child: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for a child that was asked to end, kill it at the deadline, and reap it."""
    try:
        child.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        send(child, signal.SIGKILL)
        child.wait()


@cache
def _spawner() -> ThreadPoolExecutor:
    # The kernel sends the death signal when the thread that spawned the child ends, not only when
    # the process does. One thread that lives as long as the process spawns all of them, so that
    # a server may be started from a passing thread.
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="servers")


def _spawn(command: Sequence[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [*death_signal(), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def death_signal() -> list[str]:
    """The beginning of a command that is to end with the thread that spawns it, however that ends."""
    # A launcher that is SIGKILLed cannot stop anything, so the kernel does it: setpriv asks for
    # PR_SET_PDEATHSIG and becomes the server. SIGKILL, because a paused server heeds nothing
    # else. Without setpriv (macOS) servers still end with an orderly exit of the launcher.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
