"""Health: which dependency is down, why, and which setting to look at; in time and without internals."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError

from tidings.http import health
from tidings.http.health import CHECK_SECONDS, Check, Checks, readiness
from unit.fakes import client


async def fine() -> str:
    return "PONG"


def failing(error: Exception) -> Check:
    async def run() -> None:
        raise error

    return Check(run, "TIDINGS_X")


async def ask(path: str, checks: Checks) -> tuple[int, Any]:
    app = FastAPI()
    app.include_router(health.router)
    async with client(app, checks=checks) as http:
        answer = await http.get(path)
        return answer.status_code, answer.json()


async def test_a_process_is_alive_whatever_is_down() -> None:
    assert await ask("/health/live", {"database": failing(OSError())}) == (200, {"live": True})


async def test_a_service_is_ready_when_every_dependency_is() -> None:
    status, body = await ask("/health/ready", {"database": Check(fine, "A"), "redis": Check(fine, "B")})
    assert status == 200
    assert body["ready"] is True
    assert {name: found["ok"] for name, found in body["dependencies"].items()} == {"database": True, "redis": True}


async def test_one_dependency_that_is_down_is_named_with_reason_and_setting() -> None:
    checks = {"database": Check(fine, "A"), "kafka": failing(ConnectionError("not connected to Kafka at k:9092"))}
    status, body = await ask("/health/ready", checks)
    assert status == 503
    assert body["ready"] is False
    assert body["dependencies"]["database"]["ok"] is True
    assert body["dependencies"]["kafka"] == {
        "ok": False,
        "reason": "not connected to Kafka at k:9092",
        "setting": "TIDINGS_X",
    }


async def test_a_database_error_is_told_without_its_statement_and_values() -> None:
    error = OperationalError("SELECT secret FROM users", {"name": "mina"}, OSError("cannot connect"))
    found = await readiness({"database": failing(error)})
    assert found.dependencies["database"].reason == "cannot connect"


async def test_an_error_without_words_is_told_by_its_kind() -> None:
    found = await readiness({"x": failing(ConnectionResetError())})
    assert found.dependencies["x"].reason == "ConnectionResetError"


async def test_dependencies_that_do_not_answer_are_given_up_together_within_the_deadline() -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    loop = asyncio.get_running_loop()
    start = loop.time()
    found = await readiness({f"slow {i}": Check(hang, "X") for i in range(5)} | {"fine": Check(fine, "X")})
    assert CHECK_SECONDS * 0.9 < loop.time() - start < CHECK_SECONDS + 1
    assert found.ready is False
    assert found.dependencies["fine"].ok is True
    assert found.dependencies["slow 0"].reason == "no answer within 1.5 s"


async def test_a_check_that_is_cancelled_from_outside_stays_cancelled() -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(readiness({"slow": Check(hang, "X")}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
