"""The data folder: where this machine's Tidings keeps everything, used by one process at a time."""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidings.settings import SettingsError


@contextmanager
def data_folder(path: Path) -> Iterator[Path]:
    """Make the folder when needed and keep other processes out of it.

    Raises:
        SettingsError: it cannot be written, or another process uses it.
    """
    if _is_endless(path):
        raise SettingsError("DATA: it is a symbolic link that leads back to itself")
    path = path.resolve()
    if any(mark in str(path) for mark in "?%#") or not str(path).isprintable():
        raise SettingsError("DATA: has a ?, %, # or control character in it, which no address of a database can have")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (path / "lock").open("w")  # held open for as long as the process runs
    except OSError as error:
        raise SettingsError(f"DATA: {path} cannot be written: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(
                f"DATA: another Tidings is running with {path}; stop it or choose another folder"
            ) from None
        yield path


def _is_endless(path: Path) -> bool:
    """Return whether links lead in a circle; `Path.resolve` says so up to Python 3.12 only."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def kept_secret(path: Path) -> str:
    """Return the secret in the file at `path`; made on first use, readable by this user only."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
        unfinished.rename(path)
    return path.read_text()
