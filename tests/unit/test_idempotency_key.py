"""The idempotency key: which header is one, what it tells apart, and what a client is told."""

from hashlib import sha256
from itertools import product
from typing import Any

import pytest
from fastapi import FastAPI

from tidings.http import problems
from tidings.http.idempotency import AnybodysIdempotencyKey
from tidings.idempotency.key import IdempotencyKey, IdempotencyKeyInUse, IdempotencyKeyReused
from unit.fakes import client

JSON = {"content-type": "application/json"}
SECRET = b"0123456789abcdef"


def app() -> FastAPI:
    app = FastAPI()
    problems.install(app, {})

    @app.post("/things/{name}")
    async def make(key: AnybodysIdempotencyKey, name: str, body: dict[str, Any]) -> list[str] | None:
        if name == "running":
            raise IdempotencyKeyInUse
        if name == "reused":
            raise IdempotencyKeyReused
        if name == "replayed" and key:
            key.replayed()
        return [key.value, key.caller, key.operation, key.request.decode()] if key else None

    return app


@pytest.mark.parametrize("text", ["a", "0", "!~", "x" * 128, '"8e03978e-40d5-43e8-bc93-6894a57f9324"', "a,b", "null"])
async def test_a_key_is_opaque_visible_ascii(text: str) -> None:
    async with client(app()) as http:
        answer = await http.post(
            "/things/one?dry_run=1", content=b'{"a" : 1}', headers=JSON | {"idempotency-key": text}
        )
    assert answer.json() == [text, "anonymous", "POST /things/one", 'dry_run=1\n{"a" : 1}']


async def test_without_a_key_nothing_is_asked_of_a_client() -> None:
    async with client(app()) as http:
        assert (await http.post("/things/one", json={})).json() is None


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b"  "],
        [b"x" * 129],
        [b"a b"],
        [b"a, a"],
        [b"a\x7f"],
        [b"a\x01"],
        ["키".encode()],
        [b"\xe9"],
        [b"a", b"b"],
        [b"a", b"a"],
        [b"a", b""],
    ],
)
async def test_what_is_no_key_is_refused_with_what_to_change(values: list[bytes]) -> None:
    async with client(app()) as http:
        headers = [(b"Idempotency-Key", value) for value in values]
        answer = await http.post("/things/one", json={}, headers=headers)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "Idempotency-Key"
    assert any(
        words in error["detail"] for words in ("1 character", "128 characters", "pattern '^[!-~]*$'", "only once")
    )


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [("running", 409, "idempotency-key-in-use"), ("reused", 422, "idempotency-key-reused")],
)
async def test_a_key_that_does_not_fit_is_a_problem_of_its_own(name: str, status: int, kind: str) -> None:
    async with client(app()) as http:
        answer = await http.post(f"/things/{name}", json={}, headers={"idempotency-key": "a"})
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:tidings:problem:{kind}")
    assert answer.headers.get("retry-after") == ("1" if status == 409 else None)


async def test_only_a_replayed_answer_is_marked() -> None:
    async with client(app()) as http:
        for name, mark in (("one", None), ("replayed", "true")):
            answer = await http.post(f"/things/{name}", json={}, headers={"idempotency-key": "a"})
            assert answer.headers.get("idempotent-replayed") == mark


async def test_the_document_shows_the_header_with_an_example() -> None:
    async with client(app()) as http:
        document = (await http.get("/openapi.json")).json()
    parameters = document["paths"]["/things/{name}"]["post"]["parameters"]
    (header,) = [one for one in parameters if one["name"] == "Idempotency-Key"]
    assert (header["in"], header["required"]) == ("header", False)
    assert "422" in header["description"]
    assert header["schema"]["examples"]


def test_keys_of_different_callers_and_operations_never_meet() -> None:
    texts = ("a", "b", "a b", "POST /a", "anonymous")
    keys = [IdempotencyKey(value, caller, operation, b"") for value, caller, operation in product(texts, repeat=3)]
    assert len({key.digest() for key in keys}) == len(keys)


def test_nobody_can_try_passwords_on_what_is_kept_of_a_request() -> None:
    key = IdempotencyKey("a", "b", "c", b"password")
    assert len(key.fingerprint(SECRET)) == 32
    assert key.fingerprint(SECRET) not in {sha256(b"password").digest(), key.fingerprint(b"another secret")}
    assert "password" not in repr(key)
