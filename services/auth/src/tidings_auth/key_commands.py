"""The command of the signing keys: `rotate-keys`."""

import argparse
import time
from pathlib import Path

from tidings.commands import Command, CommandFailed
from tidings.terminal import Document, Listing, complain, path_argument
from tidings_auth import key_file
from tidings_auth.key_rotation import Rotation, described, first_ring, rotated
from tidings_auth.settings import KeysSettings, SigningSettings

STANDARD_OUTPUT = Path("-")


def add_rotate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rotate-keys`."""
    parser.description = (
        "Bring the file in TIDINGS_SIGNING_KEYS_FILE to where it should be today; run it every day. It makes the file "
        "when there is none. When the current key is TIDINGS_SIGNING_ROTATE_DAYS old, the next key takes its place and "
        "a new next one is added. A key whose last token has expired is dropped. Running services see the new file "
        "within seconds, without a restart."
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    parser.add_argument(
        "--force",
        action="store_true",
        help="promote the next key now, though the current one is not due or verifiers may not know the next one yet",
    )
    parser.add_argument(
        "--output",
        type=path_argument,
        metavar="FILE",
        help="write the keys there instead, whether they changed or not; - is standard output, for kubectl create "
        "secret: PRIVATE KEYS, send them nowhere else",
    )


def rotate_keys(arguments: argparse.Namespace, settings: KeysSettings) -> str:
    """Rotate the signing keys by schedule and return what was done.

    Raises:
        SettingsError: the file is there and cannot be read.
        CommandFailed: the next key is too young, or the keys cannot be written.
    """
    signing, now = settings.signing, int(time.time())
    with key_file.kept_from_others(signing.keys_file):
        rotation = _rotation(signing, now, force=arguments.force)
        target = arguments.output or signing.keys_file
        told = "\n".join(_told(rotation, signing, now, dry_run=arguments.dry_run))
        if arguments.dry_run:
            return Listing(told)
        if target == STANDARD_OUTPUT:
            complain(told)
            return Document(rotation.ring.document().rstrip())
        if rotation.done or arguments.output:
            _write(target, rotation)
            told += f"\nwritten to {target}"
        return told


def _rotation(signing: SigningSettings, now: int, *, force: bool) -> Rotation:
    if not signing.keys_file.exists():
        return first_ring(now)
    ring, _ = key_file.read(signing.keys_file)
    return rotated(ring, signing, now, force=force)


def _write(target: Path, rotation: Rotation) -> None:
    try:
        key_file.write(target, rotation.ring)
    except OSError as error:
        raise CommandFailed(f"{target} cannot be written ({error.strerror}); --output writes elsewhere") from None


def _told(rotation: Rotation, signing: SigningSettings, now: int, *, dry_run: bool) -> list[str]:
    done = list(rotation.done) or ["nothing to do"]
    if dry_run and rotation.done:
        done.insert(0, "nothing is written; without --dry-run this would be done:")
    return [*done, *described(rotation.ring, signing, now)]


ROTATE_KEYS = Command(
    "rotate-keys",
    "make the signing keys, or replace them by schedule",
    KeysSettings,
    rotate_keys,
    add_rotate_arguments,
)
