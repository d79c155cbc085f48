"""The launcher's short commands: run to their end, silent unless they fail."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tidings_local.servers.errors import ServerFailed

_OUTPUT_LINES = 20


def run(
    what: str,
    command: Sequence[str | Path],
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        ServerFailed: it did not succeed; the text says what was tried and ends with its output.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-_OUTPUT_LINES:])
        raise ServerFailed(f"{what} failed with status {done.returncode}:\n{tail}")
    return done.stdout
