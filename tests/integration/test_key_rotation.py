"""Rotation of signing keys while people call: no valid token is refused, and no key outlives its removal."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import jwt
import pytest

from support.instance import Instance, running_instance
from support.tokens import now
from tidings.http import remote_keys
from tidings.principal import Principal
from tidings_auth import key_file
from tidings_auth.key_rotation import rotated
from tidings_auth.keyring import Keyring
from tidings_auth.settings import SigningSettings
from tidings_auth.tokens import TokenIssuer
from tidings_local.backends import Backends

DOORS = ("/api/me", "/api/messages", "/api/logs")
CALLERS = 4
ENOUGH = 30
"""Calls with one key before the next rotation."""

pytestmark = pytest.mark.parametrize("backends", ["embedded"], indirect=True)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_file, "LOOK_SECONDS", 0.05)


@dataclass
class Load:
    """People who sign in and call all services, again and again."""

    instance: Instance
    answers: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """Calls by key, path and status."""

    async def call(self) -> None:
        """Call until cancelled, each time with a token that is new."""
        me = await self._me()
        issuer: TokenIssuer = self.instance.states["auth"]["issuer"]
        while True:
            now = datetime.now(UTC)
            token, _ = issuer.issue(me, now, now + timedelta(hours=1))
            for path in DOORS:
                answer = await self.instance.http.get(path, headers={"Authorization": f"Bearer {token}"})
                self.answers[kid_of(token), path, answer.status_code] += 1

    async def until_used(self, kid: str) -> None:
        """Wait until tokens of a key were really in use at every door."""
        async with asyncio.timeout(20):
            while any(self.answers[kid, path, 200] < ENOUGH for path in DOORS):  # noqa: ASYNC110  # counts of others
                await asyncio.sleep(0.02)

    async def _me(self) -> Principal:
        token = (await self.instance.person())["Authorization"].split()[1]
        claims = jwt.decode(token, options={"verify_signature": False})
        return Principal(UUID(claims["sub"]), claims["name"], claims["role"], UUID(claims["sid"]))


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


@asynccontextmanager
async def loaded(instance: Instance) -> AsyncIterator[Load]:
    load = Load(instance)
    async with asyncio.TaskGroup() as group:  # so a caller that fails ends the test
        callers = [group.create_task(load.call()) for _ in range(CALLERS)]
        yield load
        for caller in callers:
            caller.cancel()


def rotate(path: Path, *, with_next: bool) -> str:
    """Promote the next key, or one that nobody has seen yet, and return its name."""
    ring, _ = key_file.read(path)
    if not with_next:
        ring = Keyring(tuple(key for key in ring.keys if key is not ring.next(now())))
    after = rotated(ring, SigningSettings(keys_file=path), now(), force=True).ring
    key_file.write(path, after)
    return after.current(now()).kid


async def test_under_rotation_no_valid_token_is_refused(backends: Backends, tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "signing-keys.json"
    async with running_instance(backends, tmp_path) as instance, loaded(instance) as load:
        used = [key_file.read(path)[0].current(now()).kid]
        await load.until_used(used[0])
        for with_next in (True, False):
            used.append(rotate(path, with_next=with_next))
            await load.until_used(used[-1])
        published = (await instance.http.get("/.well-known/jwks.json")).json()["keys"]
    assert len(set(used)) == 3
    assert {key["kid"] for key in published} > set(used)
    assert {status for _, _, status in load.answers} == {200}, load.answers


async def test_a_key_that_an_operator_removed_is_soon_refused_by_all_services(
    backends: Backends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_keys, "KEYS_MAX_AGE", 0.2)
    path = tmp_path / "secrets" / "signing-keys.json"
    async with running_instance(backends, tmp_path) as instance:
        stolen = await instance.person()
        assert await statuses(instance, stolen) == {200}
        fresh_kid = rotate(path, with_next=True)
        ring, _ = key_file.read(path)
        key_file.write(path, Keyring(tuple(key for key in ring.keys if key is not ring.keys[0])))
        async with asyncio.timeout(20):
            while await statuses(instance, stolen) != {401}:  # noqa: ASYNC110  # what others have done by then
                await asyncio.sleep(0.05)
        fresh = await instance.person()
        assert kid_of(fresh["Authorization"].split()[1]) == fresh_kid
        assert await statuses(instance, fresh) == {200}


async def statuses(instance: Instance, headers: dict[str, str]) -> set[int]:
    return {(await instance.http.get(path, headers=headers)).status_code for path in DOORS}
