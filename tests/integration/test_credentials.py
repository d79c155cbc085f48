"""Credentials that are doubtful, twice there or dead: what is refused, how, and when the cookie is cleared."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from support.instance import Instance, running_instance
from support.tab import COOKIE, OURS, Tab, newcomer
from tidings_auth import rotation
from tidings_auth.rotation import RefreshToken
from tidings_local.backends import Backends

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = ("auth", "messages", "logs")
CALLS_BY_COOKIE = ("/api/refresh", "/api/logout")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def instance(shared_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """An instance that all tests of this module share."""
    async with running_instance(shared_backends, tmp_path_factory.mktemp("credentials")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def person(instance: Instance) -> AsyncIterator[Tab]:
    """Somebody who is signed in."""
    async with httpx.AsyncClient(base_url=instance.url, timeout=15) as http:
        yield await newcomer(http)


@pytest_asyncio.fixture(loop_scope="module")
async def attacker(instance: Instance) -> AsyncIterator[Tab]:
    """Somebody else who is signed in."""
    async with httpx.AsyncClient(base_url=instance.url, timeout=15) as http:
        yield await newcomer(http)


def type_of(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:tidings:problem:")


async def with_cookies(instance: Instance, path: str, *headers: str) -> httpx.Response:
    """Call with these `Cookie` headers and no jar."""
    async with httpx.AsyncClient(base_url=instance.url, timeout=15) as http:
        return await http.post(path, headers=[*OURS.items(), *(("Cookie", header) for header in headers)])


async def documented(instance: Instance, method: str, path: str) -> dict[str, Any]:
    for name in NAMES:
        paths = (await instance.http.get(f"/openapi/{name}.json")).json()["paths"]
        if path in paths:
            responses: dict[str, Any] = paths[path][method]["responses"]
            return responses
    raise LookupError(path)


def require_cleared(answer: httpx.Response) -> None:
    """Require that the answer has the client forget the cookie, as the one that set it described it."""
    lines = answer.headers.get_list("set-cookie")
    assert [line.partition("Path=")[2].partition(";")[0] for line in lines] == list(CALLS_BY_COOKIE)
    for line in lines:
        name, *attributes = line.split("; ")
        assert name == f'{COOKIE}=""'
        assert {"HttpOnly", "Max-Age=0", "SameSite=strict"} <= set(attributes)


@pytest.mark.parametrize("path", CALLS_BY_COOKIE)
async def test_two_different_cookies_are_refused(instance: Instance, person: Tab, attacker: Tab, path: str) -> None:
    ours, planted = (f"{COOKIE}={tab.cookie}" for tab in (person, attacker))
    for headers in (
        [f"{ours}; {planted}"],
        [f"{planted}; {ours}"],
        [ours, planted],
        [f"{COOKIE}=x; {ours}"],
        [f"{COOKIE}=", ours],
    ):
        answer = await with_cookies(instance, path, *headers)
        assert (answer.status_code, type_of(answer)) == (400, "ambiguous-credentials")
        assert "set-cookie" not in answer.headers
    assert "ambiguous-credentials" in (await documented(instance, "post", path))["400"]["description"]
    assert [(await tab.refresh()).status_code for tab in (person, attacker)] == [200, 200]
    assert await person.statuses() == await attacker.statuses() == {200}


async def test_planted_spent_cookie_ends_no_session(
    instance: Instance, person: Tab, attacker: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = attacker.cookie
    assert (await attacker.refresh()).status_code == 200
    monkeypatch.setattr(rotation, "GRACE", -rotation.GRACE)
    answer = await with_cookies(instance, "/api/refresh", f"{COOKIE}={spent}; {COOKIE}={person.cookie}")
    assert answer.status_code == 400
    assert [(await tab.refresh()).status_code for tab in (person, attacker)] == [200, 200]


async def test_one_cookie_sent_twice_is_one_cookie(instance: Instance, person: Tab) -> None:
    ours = f"{COOKIE}={person.cookie}"
    answer = await with_cookies(instance, "/api/refresh", f"a=b; {ours}", f"{ours}; other{COOKIE}=x")
    assert answer.status_code == 200


@pytest.mark.parametrize("cookie", ["", "x", "A" * 86])
async def test_cookie_of_no_session_is_cleared_with_its_401(instance: Instance, cookie: str) -> None:
    answer = await with_cookies(instance, "/api/refresh", f"{COOKIE}={cookie}")
    assert (answer.status_code, type_of(answer)) == (401, "session-over")
    require_cleared(answer)
    assert "Set-Cookie" in (await documented(instance, "post", "/api/refresh"))["401"]["headers"]


async def test_cookie_of_an_ended_session_is_cleared_with_its_401(instance: Instance, person: Tab) -> None:
    assert (
        await person.call("DELETE", f"/api/sessions/{RefreshToken.parse(person.cookie).session_id}")
    ).status_code == 204
    answer = await person.refresh()
    assert (answer.status_code, type_of(answer)) == (401, "session-over")
    require_cleared(answer)
    assert list(person.http.cookies.jar) == []


async def test_reused_cookie_is_cleared_with_its_401(
    instance: Instance, person: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = person.cookie
    assert (await person.refresh()).status_code == 200
    monkeypatch.setattr(rotation, "GRACE", -rotation.GRACE)
    for cookie in (spent, person.cookie):  # both are of a session that has ended with this
        answer = await with_cookies(instance, "/api/refresh", f"{COOKIE}={cookie}")
        assert (answer.status_code, type_of(answer)) == (401, "session-over")
        require_cleared(answer)


async def test_cookie_that_may_be_sent_again_is_not_cleared(
    instance: Instance, person: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it when Redis or the database is away: test_auth_outages.py refreshes with it afterwards."""
    cookie = person.cookie
    cross_site = await person.http.post("/api/refresh")
    monkeypatch.setattr(rotation, "MOST", 0)
    too_often = await person.refresh()
    assert [answer.status_code for answer in (cross_site, too_often)] == [403, 429]
    assert all("set-cookie" not in answer.headers for answer in (cross_site, too_often))
    monkeypatch.undo()
    assert person.cookie == cookie
    assert (await person.refresh()).status_code == 200
    nothing = await instance.http.post("/api/refresh", headers=OURS | {"Cookie": "other=x"})
    assert (nothing.status_code, "set-cookie" in nothing.headers) == (401, False)


async def operations_with_token(instance: Instance) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the operations that need an access token. Health does not: with an admin's it only says more."""
    documents = [(await instance.http.get(f"/openapi/{name}.json")).json() for name in NAMES]
    return [
        (method, path.format(session_id=secrets.token_hex(16), user_id=secrets.token_hex(16)), operation)
        for document in documents
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if {"access-token": []} in operation["security"] and {} not in operation["security"]
    ]


async def test_two_authorization_headers_are_refused(instance: Instance, person: Tab, attacker: Tab) -> None:
    ours, others = (f"Bearer {tab.token}" for tab in (person, attacker))
    operations = await operations_with_token(instance)
    assert len(operations) >= 10
    for method, path, operation in operations:
        for values in ((ours, others), (others, ours), (ours, ours), (ours, "Basic eDp4"), ("", ours)):
            headers = [("Content-Type", "application/json"), *(("Authorization", value) for value in values)]
            async with httpx.AsyncClient(base_url=instance.url, timeout=15) as http:
                answer = await http.request(method.upper(), path, content=b"{}", headers=headers)
            assert (answer.status_code, type_of(answer)) == (400, "ambiguous-credentials"), (method, path, values)
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_request"'
            documented = operation["responses"]["400"]
            assert type_of(answer) in documented["description"]
            assert "WWW-Authenticate" in documented["headers"]
    assert await person.statuses() == {200}


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Basic eDp4", "Token {}", "{}", "Bearer{}", "Bearer {}, Bearer {}", "Bearer {} {}"],
)
async def test_authorization_without_one_bearer_token_is_401(instance: Instance, person: Tab, value: str) -> None:
    for path in ("/api/me", "/api/messages", "/api/logs"):
        answer = await instance.http.get(path, headers={"Authorization": value.replace("{}", person.token)})
        assert (answer.status_code, type_of(answer)) == (401, "not-authenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_scheme_is_read_without_regard_to_case(instance: Instance, person: Tab, scheme: str) -> None:
    answer = await instance.http.get("/api/me", headers={"Authorization": f"{scheme} {person.token}"})
    assert answer.status_code == 200
