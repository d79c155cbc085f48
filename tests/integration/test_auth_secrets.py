"""A whole life of an account: its secrets are found nowhere, and nothing of the person is left behind."""

import base64
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from support.collector import Collector
from support.dump import everything_in
from support.instance import Instance, running_instance
from support.logged import logged
from support.logins import from_address
from support.tab import OURS, Tab
from support.told import events_of
from support.topic import Offsets, ends_of, records_of
from tidings.database.engine import create_engine
from tidings.database.settings import DatabaseSettings
from tidings.events.topics import REGISTRY
from tidings.redis.client import connect
from tidings.redis.settings import RedisSettings
from tidings_auth.rotation import RefreshToken
from tidings_local.backends import Backends

ADDRESS, DEVICE = "127.73.91.17", "sentinel-browser/7.1"
PERSONAL = ("$argon2id$", ADDRESS, DEVICE)
"""What a live session may leave in the database of auth, and a deleted account nowhere."""
FIRST, WRONG, SECOND = (f"sentinel-{word}-5b1f" for word in ("first-password", "wrong-guess", "second-password"))


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    with logged("DEBUG") as stream:
        yield stream


@pytest.fixture
async def instance(
    backends: Backends, tmp_path: Path, collector: Collector, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Instance]:
    """An instance whose spans are collected."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    async with running_instance(backends, tmp_path) as running:
        yield running


async def databases(backends: Backends) -> str:
    """Every row of every service."""
    found = []
    for name in ("auth", "messages", "logs"):
        engine = create_engine(DatabaseSettings(url=SecretStr(backends.database(name))))
        found.append(await everything_in(engine))
        await engine.dispose()
    return "\n".join(found)


async def redis(backends: Backends) -> str:
    """Every key and value."""
    client = connect(RedisSettings(url=SecretStr(backends.redis)))
    read: dict[str, Any] = {
        "string": client.get,
        "hash": client.hgetall,
        "stream": client.xrange,
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    found = [repr((key, await read[str(await client.type(key))](key))) async for key in client.scan_iter()]
    await client.aclose()
    return "\n".join(found)


async def kafka(backends: Backends, since: Offsets) -> str:
    """Every record, with its key and headers."""
    records = [
        one for topic in REGISTRY for one in await records_of(backends.kafka, topic, lambda _: True, since=since)
    ]
    return "\n".join(repr((record.key, record.headers, record.value)) for record in records)


def forms(token: RefreshToken) -> set[str]:
    """A refresh token and what is secret of it, as somebody might write them."""
    parts = (token.family, token.secret, token.family + token.secret)
    ways = (bytes.hex, base64.b64encode, base64.urlsafe_b64encode, repr)
    written = [way(part) for part in parts for way in ways]
    texts = [one.decode() if isinstance(one, bytes) else one for one in written]
    return {str(token)} | {text.rstrip("=") for text in texts}


async def test_of_a_whole_life_no_secret_is_kept_and_afterwards_nothing_of_the_person(
    instance: Instance, backends: Backends, collector: Collector, log: io.StringIO
) -> None:
    secrets = {FIRST, WRONG, SECOND}
    before = await ends_of(backends.kafka, *REGISTRY)
    async with from_address(instance.url, ADDRESS) as http:
        http.headers["User-Agent"] = DEVICE
        tab = Tab(http, "mina-of-the-sentinels")

        def note() -> None:
            """Remember what the client has now."""
            secrets.update({tab.token, tab.token.rsplit(".", 1)[1]} | forms(RefreshToken.parse(tab.cookie)))

        body = {"username": tab.username, "password": FIRST}
        assert (await http.post("/api/register", json=body, headers={"Idempotency-Key": "1"})).status_code == 201
        for username, password in ((tab.username, WRONG), (FIRST, FIRST), ("nobody-at-all", WRONG)):
            wrong = {"username": username, "password": password}
            assert (await http.post("/api/login", json=wrong)).status_code == 401
        assert (await http.post("/api/login", json={"username": tab.username, "password": [FIRST]})).status_code == 422
        assert (await tab.sign_in(FIRST)).status_code == 200
        note()
        for _ in range(3):
            assert (await tab.refresh()).status_code == 200
            note()
        async with from_address(instance.url, ADDRESS) as other:  # whose cookie the refusal clears
            assert (await Tab(other, tab.username).refresh(tab.cookie[:-1])).status_code == 401
        change = {"current_password": FIRST, "new_password": SECOND}
        changed = await http.patch(
            "/api/me/password", json=change, headers={"Authorization": f"Bearer {tab.token}", "Idempotency-Key": "2"}
        )
        assert changed.status_code == 204

        living = {"living databases": await databases(backends), "living redis": await redis(backends)}
        assert all(trace in living["living databases"] for trace in PERSONAL)  # so a dump shows what there is
        assert "tidings:session:" in living["living redis"]
        assert (await http.post("/api/logout", headers=OURS)).status_code == 204
        assert (await tab.sign_in(SECOND)).status_code == 200
        note()
        assert (await tab.call("DELETE", "/api/me", json={"password": SECOND})).status_code == 204
        assert await tab.refused()

    deleted = await events_of(instance, backends.kafka, [tab.username], "user.deleted")
    assert len(deleted) == 1
    stores = {
        "databases": await databases(backends),
        "redis": await redis(backends),
        "kafka": await kafka(backends, before),
    }
    stores["log"], stores["spans"] = log.getvalue(), b"".join(collector.raw).decode(errors="replace")
    assert tab.username in stores["kafka"]
    assert "delete account" in stores["spans"]
    assert stores["log"]
    for store, text in (living | stores).items():
        assert {secret for secret in secrets if secret in text} == set(), store
    for store in ("databases", "redis", "kafka", "log"):
        assert [trace for trace in PERSONAL if trace in stores[store]] == [], store
