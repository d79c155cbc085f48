"""Health: which dependency is down, why, and which setting to look at; in time and without internals."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError

from support.tokens import Forge
from tidings.http import bearer, health
from tidings.http.bearer import TokenVerifier
from tidings.http.health import Check, Health, readiness, recent_readiness
from tidings.http.remote_keys import KeysUnavailable
from unit.fakes import EndedSessions, FixedKeys, client

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FORGE = Forge(KEY, "k1", "018f0000-0000-7000-8000-000000000001", "018f0000-0000-7000-8000-000000000002")
KEYS = FixedKeys({"k1": KEY.public_key()})
ENDED = EndedSessions({UUID("018f0000-0000-7000-8000-000000000003")})
MANAGEMENT_PORT = 9000


async def fine() -> str:
    return "PONG"


def failing(error: Exception) -> Check:
    async def run() -> None:
        raise error

    return Check(run, "TIDINGS_X")


def operators(path: str) -> str:
    """Return the address at which everybody learns reasons."""
    return f"http://tidings.test:{MANAGEMENT_PORT}{path}"


async def ask(
    path: str, checks: dict[str, Check], died: Sequence[str] = (), token: str | None = None, keys: Any = KEYS
) -> tuple[int, Any]:
    """Ask a service with these dependencies, and return status and body."""
    app = FastAPI()
    app.include_router(health.router)
    verifier = TokenVerifier(keys, FORGE.issuer, FORGE.audience, ENDED)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with client(app, health=Health(checks, list(died), MANAGEMENT_PORT), verifier=verifier) as http:
        answer = await http.get(path, headers=headers)
        return answer.status_code, answer.json()


class Unreachable(FixedKeys):
    """Keys that cannot be fetched."""

    async def find(self, kid: str) -> Any:
        raise KeysUnavailable("no keys from http://auth")


class Silent(FixedKeys):
    """Keys whose server never answers."""

    async def find(self, kid: str) -> Any:
        await asyncio.sleep(60)


async def test_a_process_is_alive_whatever_is_down() -> None:
    assert await ask("/health/live", {"database": failing(OSError())}) == (200, {"live": True})


async def test_a_service_is_ready_when_every_dependency_is() -> None:
    status, body = await ask("/health/ready", {"database": Check(fine, "A"), "redis": Check(fine, "B")})
    assert status == 200
    assert body["ready"] is True
    assert {name: found["ok"] for name, found in body["dependencies"].items()} == {"database": True, "redis": True}


async def test_one_dependency_that_is_down_is_named_with_reason_and_setting() -> None:
    checks = {"database": Check(fine, "A"), "kafka": failing(ConnectionError("not connected to Kafka at k:9092"))}
    status, body = await ask(operators("/health/ready"), checks)
    assert status == 503
    assert body["ready"] is False
    assert body["dependencies"]["database"]["ok"] is True
    assert body["dependencies"]["kafka"] == {
        "ok": False,
        "reason": "not connected to Kafka at k:9092",
        "setting": "TIDINGS_X",
        "as_of": None,
    }


@pytest.mark.parametrize(
    ("error", "setting"),
    [(ValueError("differs"), "TIDINGS_Y"), (OSError("away"), "TIDINGS_X"), (TimeoutError(), "TIDINGS_X")],
)
async def test_an_error_with_a_setting_of_its_own_names_it(error: Exception, setting: str) -> None:
    check = failing(error)
    check.setting_by_error = {ValueError: "TIDINGS_Y"}
    found = await readiness(Health({"clock": check}))
    assert found.dependencies["clock"].setting == setting


async def test_a_database_error_is_told_without_its_statement_and_values() -> None:
    error = OperationalError("SELECT secret FROM users", {"name": "mina"}, OSError("cannot connect"))
    found = await readiness(Health({"database": failing(error)}))
    assert found.dependencies["database"].reason == "cannot connect"


async def test_an_error_without_words_is_told_by_its_kind() -> None:
    found = await readiness(Health({"x": failing(ConnectionResetError())}))
    assert found.dependencies["x"].reason == "ConnectionResetError"


async def test_dependencies_that_do_not_answer_are_given_up_together_within_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.2)

    async def hang() -> None:
        await asyncio.sleep(60)

    loop = asyncio.get_running_loop()
    start = loop.time()
    found = await readiness(Health({f"slow {i}": Check(hang, "X") for i in range(5)} | {"fine": Check(fine, "X")}))
    assert 0.15 < loop.time() - start < 0.9
    assert found.ready is False
    assert found.dependencies["fine"].ok is True
    assert found.dependencies["slow 0"].reason == "no answer within 0.2 s"


class Counted:
    """A check that counts its runs, and waits in each until it may go on."""

    def __init__(self) -> None:
        self.runs = 0
        self.go_on = asyncio.Event()

    async def __call__(self) -> None:
        self.runs += 1
        await self.go_on.wait()


async def test_many_who_ask_at_once_share_one_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted()
    known = Health({"database": Check(counted, "X")})
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(recent_readiness(known)) for _ in range(50)]
        await asyncio.sleep(0)
        asking[0].cancel()  # takes it from nobody else
        await asyncio.sleep(0.01)
        counted.go_on.set()
    assert all(one.result().ready for one in asking[1:])
    assert (await recent_readiness(known)).ready
    assert counted.runs == 1
    monkeypatch.setattr(health, "SHARED_SECONDS", 0)
    assert (await recent_readiness(known)).ready
    assert counted.runs == 2


async def test_a_check_that_is_cancelled_from_outside_stays_cancelled() -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(readiness(Health({"slow": Check(hang, "X")})))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_process_whose_loop_died_says_so_and_is_neither_alive_nor_ready() -> None:
    assert await ask(operators("/health/live"), {}, ["relay"]) == (503, {"live": False, "died": ["relay"]})
    status, body = await ask("/health/ready", {"database": Check(fine, "A")}, ["relay"])
    assert (status, body["ready"]) == (503, False)


class Coming:
    """A dependency that is there or not, as a test decides."""

    there = False

    async def run(self) -> None:
        if not self.there:
            raise ConnectionError("not there")


async def test_what_is_needed_to_start_only_takes_no_traffic_away_once_it_was_there() -> None:
    kafka = Coming()
    checks = {"kafka": Check(kafka.run, "TIDINGS_X", only_to_start=True), "database": Check(fine, "A")}
    status, body = await ask(operators("/health/ready"), checks)
    assert (status, body["ready"], body["dependencies"]["kafka"]["ok"]) == (503, False, False)

    kafka.there = True
    status, body = await ask(operators("/health/ready"), checks)
    assert (status, body["ready"], body["dependencies"]["kafka"]["ok"]) == (200, True, True)

    kafka.there = False
    status, body = await ask(operators("/health/ready"), checks)
    assert (status, body["ready"]) == (200, True)
    found = body["dependencies"]["kafka"]
    assert (found["ok"], found["reason"], found["setting"]) == (False, "not there", "TIDINGS_X")


async def test_what_every_request_needs_counts_also_after_it_was_there() -> None:
    database, kafka = Coming(), Coming()
    database.there = kafka.there = True
    known = Health({"database": Check(database.run, "A"), "kafka": Check(kafka.run, "B", only_to_start=True)})
    assert (await readiness(known)).ready is True
    database.there = kafka.there = False
    assert (await readiness(known)).ready is False
    database.there = True
    assert (await readiness(known)).ready is True


async def test_how_fresh_its_news_is_is_said_of_a_dependency_that_is_there_and_of_one_that_is_not() -> None:
    heard = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    redis = Coming()
    checks = {"revocations": Check(redis.run, "TIDINGS_X", only_to_start=True, as_of=lambda: heard)}
    for redis.there in (True, False):
        status, body = await ask(operators("/health/ready"), checks)
        assert (status, body["dependencies"]["revocations"]["as_of"]) == (200, "2026-01-02T03:04:05.678901Z")


async def test_two_services_that_share_no_health_have_seen_different_things() -> None:
    kafka = Coming()
    kafka.there = True
    first, second = (Health({"kafka": Check(kafka.run, "X", only_to_start=True)}) for _ in range(2))
    await readiness(first)
    kafka.there = False
    assert [(await readiness(known)).ready for known in (first, second)] == [True, False]
    assert first.died is not second.died


async def test_a_service_whose_loop_dies_while_it_runs_is_to_be_replaced() -> None:
    known = Health({"database": Check(fine, "A")})
    app = FastAPI()
    app.include_router(health.router)
    async with client(app, health=known) as http:
        assert [(await http.get(f"/health/{path}")).status_code for path in ("live", "ready")] == [200, 200]
        known.died.append("relay")
        alive, ready = [await http.get(f"/health/{path}") for path in ("live", "ready")]
    assert (alive.status_code, alive.json()) == (503, {"live": False})
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert ready.json()["dependencies"]["database"]["ok"] is True


DOWN = {"database": Check(fine, "A"), "kafka": failing(ConnectionError("not connected to Kafka at k:9092"))}
FOR_EVERYBODY = {"ready": False, "dependencies": {"database": {"ok": True}, "kafka": {"ok": False}}}


@pytest.mark.parametrize(
    "token",
    [
        None,
        "not a token",
        FORGE.token(),
        FORGE.token(role="admin", exp=1),
        FORGE.token(role="admin", aud="others"),
        FORGE.token(role="admin", sid="018f0000-0000-7000-8000-000000000003"),
    ],
    ids=["nobody", "no token", "not an admin", "expired", "for others", "session over"],
)
async def test_strangers_learn_which_dependency_and_no_reason(token: str | None) -> None:
    assert await ask("/health/ready", DOWN, ["relay: what it died of"], token) == (503, FOR_EVERYBODY)
    assert await ask("/health/live", DOWN, ["relay: what it died of"], token) == (503, {"live": False})


async def test_an_admin_learns_reasons() -> None:
    died, token = ["relay: what it died of"], FORGE.token(role="admin")
    _, body = await ask("/health/ready", DOWN, died, token)
    assert body["dependencies"]["kafka"]["reason"] == "not connected to Kafka at k:9092"
    assert body["dependencies"]["kafka"]["setting"] == "TIDINGS_X"
    assert body["died"] == died
    assert (await ask("/health/live", DOWN, died, token))[1]["died"] == died


@pytest.mark.parametrize("keys", [Unreachable({}), Silent({})], ids=["unreachable", "silent"])
async def test_an_admin_is_a_stranger_while_keys_are_away(monkeypatch: pytest.MonkeyPatch, keys: FixedKeys) -> None:
    monkeypatch.setattr(bearer, "VERIFY_SECONDS", 0.05)
    token = FORGE.token(role="admin")
    assert await ask("/health/ready", DOWN, token=token, keys=keys) == (503, FOR_EVERYBODY)


async def test_without_a_management_port_no_port_tells_reasons() -> None:
    app = FastAPI()
    app.include_router(health.router)
    async with client(app, health=Health(DOWN)) as http:
        for url in ("/health/ready", operators("/health/ready")):
            assert (await http.get(url)).json() == FOR_EVERYBODY


async def test_a_change_is_logged_once_and_not_by_every_probe(caplog: pytest.LogCaptureFixture) -> None:
    kafka = Coming()
    reasons = iter(["gone for 1 s", "gone for 2 s", "refused", "gone for 3 s", "refused"])

    async def run() -> None:
        if not kafka.there:
            raise ConnectionError(next(reasons))

    known = Health({"kafka": Check(run, "TIDINGS_X")})
    caplog.set_level(logging.WARNING, "tidings.http.health")
    for kafka.there in (True, False, False, False, False, True, True, False):
        await readiness(known)
    assert [record.getMessage() for record in caplog.records] == [
        "dependency kafka is not usable: gone for 1 s (TIDINGS_X)",
        "dependency kafka is not usable: refused (TIDINGS_X)",
        "dependency kafka is usable again",
        "dependency kafka is not usable: refused (TIDINGS_X)",
    ]
