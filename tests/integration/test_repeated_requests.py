"""Repeated requests: with an `Idempotency-Key`, a client that lost the answer asks again and nothing happens twice."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from support.dump import everything_in
from support.instance import Instance, running_instance
from support.topic import records_of
from tidings.database.engine import create_engine
from tidings_local.backends import Backends

PASSWORD = "canary-password-4e21"
IN_USE = "urn:tidings:problem:idempotency-key-in-use"
BUSY = {IN_USE, "urn:tidings:problem:busy", "urn:tidings:problem:unavailable"}
"""What fifty at once may be told: that nothing is known to be done, so that asking again is right."""
REUSED = "urn:tidings:problem:idempotency-key-reused"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def instance(shared_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    async with running_instance(shared_backends, tmp_path_factory.mktemp("repeated")) as running:
        yield running


def with_key(headers: dict[str, str] | None = None, key: str | None = None) -> dict[str, str]:
    return (headers or {}) | {"idempotency-key": key or str(uuid4()), "content-type": "application/json"}


def new_account() -> dict[str, str]:
    return {"username": f"repeater-{secrets.token_hex(4)}", "password": PASSWORD}


async def events_with(backends: Backends, topic: str, words: str) -> int:
    return len(await records_of(backends.kafka, topic, lambda record: words.encode() in record.value))


async def posts_of(instance: Instance, me: dict[str, str]) -> list[dict[str, Any]]:
    mine = (await instance.http.get("/api/me", headers=me)).json()["id"]
    items = (await instance.http.get("/api/messages?limit=100", headers=me)).json()["items"]
    return [item for item in items if item["author_id"] == mine]


async def dump(instance: Instance, name: str) -> str:
    (settings,) = [one for package, one in instance.services.databases if package == name]
    engine = create_engine(settings.database)
    found = await everything_in(engine)
    await engine.dispose()
    return found


def same_answer(first: httpx.Response, again: httpx.Response) -> bool:
    kept = ("location", "content-type")
    return (first.status_code, first.content, [first.headers.get(name) for name in kept]) == (
        again.status_code,
        again.content,
        [again.headers.get(name) for name in kept],
    )


async def test_a_message_that_is_sent_again_is_there_once_with_one_event(
    instance: Instance, shared_backends: Backends
) -> None:
    me = await instance.person()
    headers = with_key(me)
    first, again, third = [
        await instance.http.post("/api/messages", json={"message": "한 번만"}, headers=headers) for _ in range(3)
    ]
    assert first.status_code == 201
    assert same_answer(first, again)
    assert same_answer(first, third)
    assert first.headers["location"].endswith(first.json()["id"])
    assert [answer.headers.get("idempotent-replayed") for answer in (first, again)] == [None, "true"]
    assert first.headers["x-trace-id"] == again.json()["trace_id"] != again.headers["x-trace-id"]
    assert len(await posts_of(instance, me)) == 1
    assert await events_with(shared_backends, "tidings.messages.v1", first.json()["author_id"]) == 1


async def test_an_account_that_is_registered_again_is_there_once_with_one_event(
    instance: Instance, shared_backends: Backends
) -> None:
    body, headers = new_account(), with_key()
    first, again = [await instance.http.post("/api/register", json=body, headers=headers) for _ in range(2)]
    assert first.status_code == 201
    assert same_answer(first, again)
    assert [answer.headers.get("idempotent-replayed") for answer in (first, again)] == [None, "true"]
    assert (await instance.http.post("/api/register", json=body)).status_code == 409
    assert await events_with(shared_backends, "tidings.auth.v1", body["username"]) == 1


@pytest.mark.parametrize("path", ["/api/messages", "/api/register"])
async def test_another_body_with_the_same_key_is_refused(path: str, instance: Instance) -> None:
    """Also when it means the same: bodies are compared byte by byte, so that nobody has to know what JSON means."""
    headers = with_key(await instance.person())
    body = {"message": "one"} if path == "/api/messages" else new_account()
    assert (await instance.http.post(path, content=json.dumps(body), headers=headers)).status_code == 201
    for other in (json.dumps(body | {"message": "two", "password": "another password"}), json.dumps(body, indent=1)):
        answer = await instance.http.post(path, content=other, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (422, REUSED)


@pytest.mark.parametrize("path", ["/api/messages", "/api/register"])
async def test_of_fifty_at_once_one_takes_effect_and_all_who_ask_again_hear_of_it(
    path: str, instance: Instance, shared_backends: Backends
) -> None:
    me = await instance.person()
    headers = with_key(me)
    body = {"message": "fifty"} if path == "/api/messages" else new_account()
    answers = await asyncio.gather(*(instance.http.post(path, json=body, headers=headers) for _ in range(50)))
    last = await instance.http.post(path, json=body, headers=headers)
    made = [answer for answer in [*answers, last] if answer.status_code == 201]
    assert {answer.json()["type"] for answer in answers if answer.status_code != 201} <= BUSY
    assert last in made
    assert {answer.content for answer in made} == {last.content}
    if path == "/api/messages":
        assert len(await posts_of(instance, me)) == 1
        assert await events_with(shared_backends, "tidings.messages.v1", last.json()["author_id"]) == 1
    else:
        assert await events_with(shared_backends, "tidings.auth.v1", body["username"]) == 1


@pytest.mark.parametrize("path", ["/api/messages", "/api/register"])
async def test_an_answer_that_is_lost_after_the_commit_is_given_when_it_is_asked_for_again(
    path: str, instance: Instance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    me = await instance.person()
    headers = with_key(me)
    body = {"message": "lost"} if path == "/api/messages" else new_account()
    states = instance.states
    posting, registration = states["messages"]["posting"], states["auth"]["registration"]
    outbox = posting._outbox if path == "/api/messages" else registration._outbox

    def fail() -> None:
        raise RuntimeError("after the commit, before the answer")

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_wake", fail)
        assert (await instance.http.post(path, json=body, headers=headers)).status_code == 500
    again = await instance.http.post(path, json=body, headers=headers)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert path == "/api/register" or [post["id"] for post in await posts_of(instance, me)] == [again.json()["id"]]


async def test_a_client_that_hung_up_asks_again_and_nothing_is_there_twice(instance: Instance) -> None:
    me = await instance.person()
    for number in range(10):
        headers = with_key(me)
        body = json.dumps({"message": f"hung up {number}"})
        url = httpx.URL(instance.url)
        _, writer = await asyncio.open_connection(url.host, url.port)
        lines = [
            "POST /api/messages HTTP/1.1",
            f"host: {url.host}",
            f"content-length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        writer.write("\r\n".join([*lines, "", body]).encode())
        await writer.drain()
        await asyncio.sleep(0.002 * number)
        writer.close()
        for _ in range(100):
            answer = await instance.http.post("/api/messages", content=body, headers=headers)
            if answer.status_code != 409:
                break
            await asyncio.sleep(0.02)
        assert answer.status_code == 201
    posts = await posts_of(instance, me)
    assert sorted(post["message"] for post in posts) == [f"hung up {number}" for number in range(10)]


async def test_two_callers_with_the_same_key_each_post_their_own(instance: Instance) -> None:
    key = str(uuid4())
    people = [await instance.person() for _ in range(2)]
    answers = [
        await instance.http.post("/api/messages", json={"message": "same"}, headers=with_key(me, key)) for me in people
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["author"] != answers[1].json()["author"]
    assert [len(await posts_of(instance, me)) for me in people] == [1, 1]


async def test_a_refusal_is_not_remembered(instance: Instance) -> None:
    body = new_account()
    assert (await instance.http.post("/api/register", json=body)).status_code == 201
    headers = with_key()
    for _ in range(2):
        assert (await instance.http.post("/api/register", json=body, headers=headers)).status_code == 409
    short = await instance.http.post("/api/register", json=new_account() | {"password": "short"}, headers=headers)
    assert short.json()["type"] == "urn:tidings:problem:validation"
    assert (await instance.http.post("/api/register", json=new_account(), headers=headers)).status_code == 201


async def test_a_key_that_is_none_is_refused_and_nothing_is_done(instance: Instance) -> None:
    me = await instance.person()
    for key in ("", "x" * 129, "a b"):
        headers = me | {"idempotency-key": key}
        answer = await instance.http.post("/api/messages", json={"message": "no key"}, headers=headers)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "Idempotency-Key"
    assert await posts_of(instance, me) == []


async def test_what_is_remembered_has_no_password_and_no_token(instance: Instance) -> None:
    body = new_account()
    token = (await instance.person())["Authorization"].removeprefix("Bearer ")
    await instance.http.post("/api/register", json=body, headers=with_key())
    await instance.http.post(
        "/api/messages", json={"message": "remembered"}, headers=with_key({"Authorization": f"Bearer {token}"})
    )
    kept = await dump(instance, "tidings_auth") + await dump(instance, "tidings_messages")
    assert body["username"] in kept
    assert kept.count("remembered") >= 2, "the message and its answer"
    assert PASSWORD not in kept
    assert token.rsplit(".", 1)[1] not in kept


async def test_a_commit_that_failed_is_not_remembered(instance: Instance) -> None:
    me = await instance.person()
    headers = with_key(me)

    def lose(connection: Connection) -> None:
        if "messages" in str(connection.engine.url):
            raise OperationalError("COMMIT", {}, Exception("the connection is gone"))

    event.listen(Engine, "commit", lose)
    try:
        answer = await instance.http.post("/api/messages", json={"message": "later"}, headers=headers)
    finally:
        event.remove(Engine, "commit", lose)
    assert answer.status_code == 503
    again = await instance.http.post("/api/messages", json={"message": "later"}, headers=headers)
    assert (again.status_code, again.headers.get("idempotent-replayed")) == (201, None)
    assert len(await posts_of(instance, me)) == 1
