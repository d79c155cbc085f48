"""Rotation of signing keys: next becomes current, a new next is added, what nobody needs any more goes."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tidings.commands import CommandFailed
from tidings.http.remote_keys import KEYS_MAX_AGE
from tidings.redis.revocations import LONGEST_LIFETIME
from tidings_auth.keyring import Keyring, SigningKey, new_key, new_keyring
from tidings_auth.settings import SPREAD_SECONDS, SigningSettings

PUBLISHED_SECONDS = KEYS_MAX_AGE + SPREAD_SECONDS
"""Once a key has been in the file that long, every verifier has it."""
DROP_SECONDS = LONGEST_LIFETIME + SPREAD_SECONDS
"""A key that was superseded that long ago has no live token, whatever the services' settings say."""
DAY = int(timedelta(days=1).total_seconds())


@dataclass(frozen=True)
class Rotation:
    """What came of a rotation."""

    ring: Keyring
    done: tuple[str, ...]
    """What was changed, a line each; empty when nothing was due."""


def first_ring(now: int) -> Rotation:
    """Return the keyring of a new installation."""
    ring = new_keyring(now)
    return Rotation(ring, ("made a key that signs at once, and the next one",))


def rotated(ring: Keyring, settings: SigningSettings, now: int, *, force: bool) -> Rotation:
    """Return the keyring as it should be now.

    Args:
        ring: as it is.
        settings: how old the current key may get, and how long tokens live.
        now: seconds since 1970.
        force: promote the next key, however young either of the two is.

    Raises:
        CommandFailed: the current key is due, but verifiers may not know the next one yet.
    """
    kept = ring.known(now, DROP_SECONDS)
    done = [f"dropped {key.kid}: its last token has expired" for key in ring.keys if key not in kept.keys]
    if force or due_at(kept, settings, now) <= now:
        following = kept.next(now)
        if following is None and force:
            following = new_key(now)
            kept = kept.with_key(following)
        if following is not None:
            _require_known(following, now, force=force)
            kept = kept.promoted(following, now)
            done.append(f"promoted {following.kid}: it signs from now on")
    if kept.next(now) is None:
        added = new_key(now)
        kept = kept.with_key(added)
        done.append(f"added {added.kid}: the next key")
    return Rotation(kept, tuple(done))


def due_at(ring: Keyring, settings: SigningSettings, now: int) -> int:
    """Return when the current key has signed for long enough."""
    return (ring.current(now).active_from or 0) + settings.rotate_days * DAY


def described(ring: Keyring, settings: SigningSettings, now: int) -> list[str]:
    """Return a line for each key: its name, role and times; nothing private."""
    return [
        f"  {key.kid}  {_role(ring, key, now):<10}  created {moment(key.created)}{_times(ring, key, settings, now)}"
        for key in ring.keys
    ]


def moment(seconds: int) -> str:
    """Return a time as people read it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _require_known(following: SigningKey, now: int, *, force: bool) -> None:
    ready = following.created + PUBLISHED_SECONDS
    if ready > now and not force:
        raise CommandFailed(
            f"nothing was changed: the next key {following.kid} is new, and verifiers may not know it yet; "
            f"it can sign from {moment(ready)}, or at once with --force"
        )


def _role(ring: Keyring, key: SigningKey, now: int) -> str:
    if key is ring.current(now):
        return "current"
    return "superseded" if ring.superseded_at(key, now) else "next"


def _times(ring: Keyring, key: SigningKey, settings: SigningSettings, now: int) -> str:
    if key is ring.current(now):
        return f", signs since {moment(key.active_from or 0)}, due {moment(due_at(ring, settings, now))}"
    if end := ring.superseded_at(key, now):
        return f", published until {moment(end + settings.keep_seconds)}"
    return f", can sign from {moment(key.active_from or key.created + PUBLISHED_SECONDS)}"
