"""The file with the signing keys: read with care, replaced whole, and read again when it changes."""

import asyncio
import contextlib
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tidings.kafka.loops import end
from tidings.settings import SettingsError
from tidings_auth.keyring import Keyring, new_keyring, read_keyring
from tidings_auth.settings import SigningSettings

logger = logging.getLogger(__name__)

VARIABLE = "TIDINGS_SIGNING_KEYS_FILE"
LOOK_SECONDS = 3.0
FOR_OTHERS = stat.S_IWGRP | stat.S_IRWXO
"""What a key file's mode must not have; its group may read it, as Kubernetes' `fsGroup` has it."""
MAX_SIZE = 64 * 1024

Signature = tuple[int, int, int, int]


class SigningKeys:
    """The keys of the file as it is now; while it cannot be read, those that it had.

    Args:
        settings: where the file is, and whether it may be made.

    Raises:
        SettingsError: the file holds no key that signs.
    """

    def __init__(self, settings: SigningSettings) -> None:
        self._path = settings.keys_file
        if settings.generate:
            _make(self._path)
        self.ring, self._seen = read(self._path)
        self._problem: str | None = None
        self._stopping = asyncio.Event()

    async def check(self) -> None:
        """Raise when the file as it is now cannot be used."""
        if self._problem:
            raise SettingsError(f"{self._problem}; the keys known before are used")

    async def run(self) -> None:
        """Look at the file every few seconds until `stop`."""
        while not self._stopping.is_set():
            await asyncio.to_thread(self.look)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LOOK_SECONDS)

    async def stop(self, task: "asyncio.Task[None]", deadline: float) -> None:
        """End `task`, which runs this, at the latest after `deadline` seconds."""
        self._stopping.set()
        await end(task, deadline)

    def look(self) -> None:
        """Take the file's keys when it has changed."""
        if not self._problem and self._is_as_seen():
            return
        try:
            self.ring, self._seen = read(self._path)
        except SettingsError as error:
            if str(error) != self._problem:
                logger.warning("the signing keys known before are used: %s", error)
            self._problem = str(error)
            return
        self._problem = None
        logger.info("signing keys: %s", ", ".join(key.kid for key in self.ring.keys))

    def _is_as_seen(self) -> bool:
        with contextlib.suppress(OSError):
            return _signature(self._path.stat()) == self._seen
        return False


def read(path: Path) -> tuple[Keyring, Signature]:
    """Return the keys of a file, and what tells this state of it from another.

    Raises:
        SettingsError: it is not there, others may read it, or it holds no key that signs.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_IMODE(status.st_mode) & FOR_OTHERS:
                raise ValueError(f"others may read or write it; chmod 600 {path} (in Kubernetes: defaultMode: 0400)")
            octets = file.read(MAX_SIZE + 1)
            if len(octets) > MAX_SIZE:
                raise ValueError(f"it has more than {MAX_SIZE // 1024} KiB, so it is not a file of keys")
            ring = read_keyring(octets)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None
    except ValueError as error:
        raise _refused(path, str(error)) from None
    if not ring.is_active(int(time.time())):
        raise _refused(path, "no key in it is active yet (active_from)")
    return ring, _signature(status)


def write(path: Path, ring: Keyring) -> None:
    """Replace the file by one of the same owner, or of this user's own; at every moment it is the old or the new one.

    Raises:
        OSError: its folder cannot be written.
    """
    path = path.resolve()
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(ring.document())
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError, PermissionError):  # whoever reads it, must go on reading it
                before = path.stat()
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode) & ~FOR_OTHERS)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)  # private keys must not stay where nobody looks for them
        raise
    with _opened(path.parent) as folder:
        os.fsync(folder)


@contextmanager
def kept_from_others(path: Path) -> Iterator[None]:
    """Hold a lock on the file's folder, so that of two who change the file one sees what the other did.

    Raises:
        SettingsError: there is no such folder.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(_opened(path.resolve().parent))
        except OSError as error:
            raise _refused(path, error.strerror or str(error)) from None
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield


def _make(path: Path) -> None:
    with kept_from_others(path):
        if not path.exists():
            try:
                write(path, new_keyring(int(time.time())))
            except OSError as error:
                raise _refused(path, f"it cannot be written: {error.strerror}") from None


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _signature(status: os.stat_result) -> Signature:
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def _refused(path: Path, reason: str) -> SettingsError:
    return SettingsError(
        f"{VARIABLE}: {path}: {reason}; `python -m tidings_auth rotate-keys` makes one where there is none"
    )
