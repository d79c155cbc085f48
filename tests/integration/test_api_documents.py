"""The API documents are true: no call is answered in a way that its operation does not document."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from support import documents
from support.instance import Instance, running_instance
from tidings_local.backends import embedded_backends

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS = {"X-Tidings-Client": "tests"}
BROKEN: list[dict[str, Any]] = [
    {"headers": {"Authorization": ""}},
    {"headers": {"Authorization": "Bearer none"}},
    {"content": b"{", "headers": {"Content-Type": "application/json"}},
    {"content": b"x", "headers": {"Content-Type": "text/plain"}},
    {"content": b"[]", "headers": {"Content-Type": "application/json"}},
    {"content": b"x" * 200_000, "headers": {"Content-Type": "application/json"}},
    {"json": {"username": "", "password": "", "message": "", "role": "king", "current_password": 1}},
    {"params": {"limit": "0", "cursor": "?", "trace_id": "?"}},
    {"params": {"cursor": "?"}},
    {"headers": {"Idempotency-Key": "é".encode()}},
    {"headers": {"Authorization": "", "Cookie": "tidings_refresh=none"}},
    {"headers": {"Authorization": "", "Cookie": "tidings_refresh=none", **OURS}},
]
"""What clients get wrong."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def instance(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """An embedded instance: a document is the same on any backends."""
    folder: Path = tmp_path_factory.mktemp("documented")
    with embedded_backends(folder) as backends:
        async with running_instance(backends, folder) as running:
            yield running


async def operations(instance: Instance) -> list[tuple[str, str, documents.Operation]]:
    answers = [await instance.http.get(f"/openapi/{name}.json") for name in documents.NAMES]
    return [operation for answer in answers for operation in documents.operations(answer.json())]


def undocumented(answer: httpx.Response, operation: dict[str, Any]) -> Iterator[str]:
    """Say what of an answer its operation does not document."""
    found = operation["responses"].get(str(answer.status_code))
    if found is None:
        yield f"status {answer.status_code}: {answer.text}"
    elif answer.status_code >= 400:
        if answer.json()["type"] not in found["description"]:
            yield f"type {answer.json()['type']}"
        yield from (
            name for name in ("Retry-After", "WWW-Authenticate") if name in answer.headers.keys() - found["headers"]
        )
    elif answer.content and not set(found.get("content", {})) & {answer.headers["content-type"]}:
        yield f"a body of {answer.headers['content-type']}"


async def test_what_clients_get_wrong_is_answered_as_documented(instance: Instance) -> None:
    seen = set()
    for method, path, operation in await operations(instance):
        token = await instance.person()
        at = path.format(session_id="none", user_id="none")
        for broken in BROKEN:
            if method == "GET" and {"content", "json"} & broken.keys():
                continue  # a body that means nothing there (RFC 9110 section 9.3.1)
            options = broken | {"headers": token | broken.get("headers", {})}
            instance.http.cookies.clear()
            answer = await instance.http.request(method, at, **options)
            assert list(undocumented(answer, operation)) == [], (method, path, options)
            seen.add(answer.status_code)
    assert seen >= {200, 204, 400, 401, 403, 413, 415, 422}


async def test_every_example_is_answered_as_documented(instance: Instance) -> None:
    """The examples as they stand; then again, when all that they name is there or is gone."""
    seen = set()
    for method, path, operation in await operations(instance):
        parameters = {it["name"]: it["schema"].get("examples", [None])[0] for it in operation.get("parameters", [])}
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        headers = await instance.person(f"reader-{secrets.token_hex(4)}") | OURS
        for _ in range(3):
            answer = await instance.http.request(
                method, path.format(**parameters), json=body.get("example"), headers=headers
            )
            assert list(undocumented(answer, operation)) == [], (method, path)
            seen.add(answer.status_code)
    assert seen >= {200, 201, 204, 401, 403, 404, 409}
