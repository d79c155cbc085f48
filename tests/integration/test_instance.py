"""All services together: what goes over the wire, and what an error does to an answer."""

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from jsonschema import Draft202012Validator
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from support.backends import fresh_backends
from support.instance import Instance, running_instance
from support.servers import RealServers
from support.topic import records_of
from tidings_local.backends import Backends
from unit.fakes import client

JSON = {"content-type": "application/json"}
PUBLIC = {
    ("POST", "/api/register"),
    ("POST", "/api/login"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/docs"),
    ("GET", "/docs/assets/{name}"),
    ("GET", "/docs/events"),
    ("GET", "/asyncapi.json"),
    ("GET", "/openapi.json"),
    ("GET", "/openapi/auth.json"),
    ("GET", "/openapi/messages.json"),
    ("GET", "/openapi/logs.json"),
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def instance(shared_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """One instance for all tests of this module: each brings its own person."""
    async with running_instance(shared_backends, tmp_path_factory.mktemp("instance")) as running:
        yield running


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    return {
        (method, str(route.path))
        for route in iter_route_contexts(app.routes)
        for method in (route.methods or set()) - {"HEAD"}
    }


async def test_every_route_that_is_not_public_refuses_an_anonymous_call(instance: Instance) -> None:
    walked: set[tuple[str, str]] = set()
    for app in instance.services.apps.values():
        for method, path in routes_of(app):
            walked.add((method, path))
            if (method, path) in PUBLIC:
                continue
            for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic bWluYTptaW5h"}):
                answer = await instance.http.request(method, path, headers=headers, json={})
                assert answer.status_code == 401, (method, path, headers, answer.text)
    assert len(walked - PUBLIC) >= 4
    assert walked >= PUBLIC


async def test_a_record_carries_exactly_one_traceparent_and_every_attribute(
    instance: Instance, shared_backends: Backends
) -> None:
    me = await instance.person()
    message = (await instance.http.post("/api/messages", json={"message": "wire"}, headers=me)).json()
    await instance.until(f"/api/logs?trace_id={message['trace_id']}", me, 2)
    (found,) = await records_of(
        shared_backends.kafka,
        "tidings.messages.v1",
        lambda record: dict(record.headers).get("ce_id") == message["event_id"].encode(),
        count=1,
    )
    names = [name for name, _ in found.headers]
    assert names.count("traceparent") == 1
    assert message["trace_id"].encode() in dict(found.headers)["traceparent"]
    assert dict(found.headers)["ce_type"] == b"tidings.message.created.v1"
    assert found.key == message["id"].encode()
    assert b"wire" not in found.value


async def test_events_of_one_account_are_numbered_in_order(instance: Instance, shared_backends: Backends) -> None:
    body = {"username": "counted", "password": "a password that nobody else has"}
    user_id: str = (await instance.http.post("/api/register", json=body)).json()["id"]
    for _ in range(3):
        assert (await instance.http.post("/api/login", json=body)).status_code == 200
    found = await records_of(
        shared_backends.kafka, "tidings.auth.v1", lambda record: record.key == user_id.encode(), count=4
    )
    numbers = [dict(record.headers)["ce_sequence"] for record in found]
    assert numbers == [b"1", b"2", b"3", b"4"]


async def test_a_failing_commit_answers_an_error_and_writes_nothing(instance: Instance) -> None:
    me = await instance.person()

    def lose(connection: Connection) -> None:
        if "messages" in str(connection.engine.url):
            raise OperationalError("COMMIT", {}, Exception("the connection is gone"))

    event.listen(Engine, "commit", lose)
    try:
        answer = await instance.http.post("/api/messages", json={"message": "lost"}, headers=me)
    finally:
        event.remove(Engine, "commit", lose)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["type"] == "urn:tidings:problem:unavailable"
    assert "lost" not in answer.text
    assert "lost" not in (await instance.http.get("/api/messages?limit=100", headers=me)).text


@pytest.mark.real
async def test_a_connection_killed_at_commit_answers_an_error(
    servers: RealServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDINGS_CONSUMER_GROUP", tmp_path.name)
    mariadb = servers.mariadb
    client = ["mariadb", "--protocol=tcp", "--host=127.0.0.1", f"--port={mariadb.port}", "--user=root"]

    def kill(connection: Connection) -> None:
        if "tidings_messages" in str(connection.engine.url):
            number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
            subprocess.run([*client, "--execute", f"KILL {number}"], check=True)

    with fresh_backends(tmp_path, servers) as backends:
        async with running_instance(backends, tmp_path) as instance:
            me = await instance.person()
            event.listen(Engine, "commit", kill)
            try:
                answer = await instance.http.post("/api/messages", json={"message": "killed"}, headers=me)
            finally:
                event.remove(Engine, "commit", kill)
            assert answer.status_code == 503
            assert (await instance.http.get("/api/messages", headers=me)).json()["items"] == []
            again = await instance.http.post("/api/messages", json={"message": "alive"}, headers=me)
            assert again.status_code == 201


async def test_a_refused_body_is_never_repeated(instance: Instance) -> None:
    canary = "canary-5d1f9c"
    for body in (
        {"username": "mina", "password": canary[:5]},
        {"username": "mina", "password": [canary]},
        {"username": "mina", "password": canary * 50},
        {"username": canary, "password": f"{canary}-and-more"},
        {"username": 5, "password": canary},
        [canary],
        canary,
        {"username": "mina", "password": f"{canary}\ud800"},
    ):
        for path in ("/api/register", "/api/login"):
            answer = await instance.http.post(path, content=json.dumps(body), headers=JSON)
            assert answer.status_code in (401, 422), (path, body, answer.text)
            assert canary[:5] not in answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["trace_id"]


async def test_a_wrong_user_and_a_wrong_password_look_the_same(instance: Instance) -> None:
    await instance.person("minsu")
    wrong = await instance.http.post("/api/login", json={"username": "minsu", "password": "wrong-password"})
    unknown = await instance.http.post("/api/login", json={"username": "nobody", "password": "wrong-password"})
    strip = ("trace_id",)
    assert wrong.status_code == unknown.status_code == 401
    assert {k: v for k, v in wrong.json().items() if k not in strip} == {
        k: v for k, v in unknown.json().items() if k not in strip
    }
    assert set(wrong.headers) == set(unknown.headers)


async def test_usernames_that_count_as_the_same_are_taken(instance: Instance) -> None:
    password = "a password that nobody else has"
    for username in ("Straße", "소식통", "yuna"):
        answer = await instance.http.post("/api/register", json={"username": username, "password": password})
        assert answer.status_code == 201
    for username in ("STRASSE", "소식통", "ＹＵＮＡ", "Yuna"):
        answer = await instance.http.post("/api/register", json={"username": username, "password": password})
        assert answer.status_code == 409, username
        assert answer.json()["type"] == "urn:tidings:problem:username-taken"
    signed_in = await instance.http.post("/api/login", json={"username": "ＳＴＲＡＳＳＥ", "password": password})
    assert signed_in.json()["username"] == "Straße"


async def test_a_wrong_method_names_all_that_the_path_takes(instance: Instance) -> None:
    answer = await instance.http.delete("/api/messages")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"


async def test_the_longest_message_is_taken_also_when_every_character_is_escaped(instance: Instance) -> None:
    body = json.dumps({"message": "😀" * 10_000}, ensure_ascii=True)
    answer = await instance.http.post("/api/messages", content=body, headers=await instance.person() | JSON)
    assert answer.status_code == 201


async def test_texts_come_back_as_they_were_sent(instance: Instance) -> None:
    me = await instance.person()
    for text in ("한글과 emoji 🧑‍🚀", "a\nb\tc", "ＦＵＬＬ", "x" * 10_000, "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "'; DROP TABLE messages; --"):
        answer = await instance.http.post("/api/messages", json={"message": f"  {text}\n"}, headers=me)
        assert answer.status_code == 201
        assert answer.json()["message"] == text
        first = (await instance.http.get("/api/messages?limit=1", headers=me)).json()["items"][0]
        assert first["message"] == text


async def test_a_text_that_is_no_message_is_refused_with_what_to_change(instance: Instance) -> None:
    me = await instance.person()
    for body in (
        b'{"message": ""}',
        b'{"message": " \\n"}',
        b'{"message": "a\\u0000b"}',
        b'{"message": "\\ud800"}',
        b'{"message": 5}',
        b'{"message": null}',
        b"{}",
        b'{"message": "' + b"x" * 10_001 + b'"}',
    ):
        answer = await instance.http.post(
            "/api/messages", content=body, headers=me | {"content-type": "application/json"}
        )
        assert answer.status_code == 422, (body[:40], answer.text)
        assert answer.json()["errors"][0]["pointer"] == "/message"


@pytest.mark.parametrize("event_type", ["è", "가.created", "🌤", "\0"], ids=ascii)
async def test_event_type_that_is_not_ascii_is_refused(instance: Instance, event_type: str) -> None:
    answer = await instance.http.get("/api/logs", params={"type": event_type}, headers=await instance.person())
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == "type"


async def test_readiness_names_each_dependency(instance: Instance) -> None:
    found = (await instance.http.get("/health/ready")).json()
    expected = {
        "auth": {"clock", "database", "redis", "kafka", "outbox", "revocations", "signing keys"},
        "messages": {"clock", "database", "kafka", "keys", "outbox", "revocations"},
        "logs": {"clock", "database", "kafka", "keys", "revocations"},
    }
    assert set(found["dependencies"]) == {f"{service}/{name}" for service, names in expected.items() for name in names}
    assert found.keys() == {"ready", "dependencies"}
    assert all(dependency.keys() == {"ok"} for dependency in found["dependencies"].values())
    assert (await instance.http.get("/health/live")).json() == {"live": True}


async def test_an_admin_learns_reasons_and_others_do_not(instance: Instance) -> None:
    strangers = await instance.http.get("/health/ready", headers=await instance.person())
    assert strangers.json() == (await instance.http.get("/health/ready")).json()
    found = (await instance.http.get("/health/ready", headers=await instance.admin())).json()
    assert found["died"] == []
    for service in ("auth", "messages", "logs"):
        assert found["dependencies"][f"{service}/revocations"]["as_of"]


async def test_health_is_answered_as_documented(instance: Instance) -> None:
    """At the gateway and at each service, when all is well and when a loop of one service died."""
    died: list[str] = instance.states["messages"]["health"].died
    for healthy in (True, False):
        if not healthy:
            died.append("relay: stopped by a test")
        try:
            answers = await health_answers(instance)
        finally:
            died.clear()
        assert {answer.status_code for answer, _, _ in answers} == ({200} if healthy else {200, 503})
        for answer, operation, components in answers:
            body = operation["responses"][str(answer.status_code)]["content"][answer.headers["content-type"]]
            validator = Draft202012Validator({**body["schema"], "components": components})
            assert [error.message for error in validator.iter_errors(answer.json())] == [], answer.url


async def health_answers(instance: Instance) -> list[tuple[httpx.Response, dict[str, Any], dict[str, Any]]]:
    """Ask for health by each document, and return the answers with their operations and the document's components."""
    found = []
    admin = await instance.admin()
    for name, app in instance.services.apps.items():
        document = app.openapi()
        async with client(app, **instance.states[name]) as service:
            for path in ("/health/live", "/health/ready"):
                for http in (instance.http, service):
                    for headers in ({}, admin):
                        answer = await http.get(path, headers=headers)
                        found.append((answer, document["paths"][path]["get"], document["components"]))
    return found


async def test_the_home_page_and_the_docs_load_nothing_from_elsewhere(instance: Instance) -> None:
    home = await instance.http.get("/")
    assert home.status_code == 200
    assert 'href="/docs' in home.text
    assert 'href="/docs/events"' in home.text
    page = await instance.http.get("/docs")
    events = await instance.http.get("/docs/events")
    assert (await instance.http.get("/asyncapi.json")).json()["asyncapi"] == "3.0.0"
    for text in (home.text, page.text, events.text):
        assert "http://" not in text
        assert "https://" not in text
    for name in ("auth", "messages", "logs"):
        document = (await instance.http.get(f"/openapi/{name}.json")).json()
        assert document["openapi"].startswith("3.")
        assert "servers" not in document  # the paths begin with a slash, so "/" before them would be "//"
        for operations in document["paths"].values():
            for operation in operations.values():
                assert operation["summary"]
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "docs.js", "docs.css", "events.css"):
        assert (await instance.http.get(f"/docs/assets/{asset}")).status_code == 200
    assert (await instance.http.get("/docs/assets/..%2fdocs.html")).status_code == 404
