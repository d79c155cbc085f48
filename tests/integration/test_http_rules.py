"""The rules of HTTP at the edge of all services: HEAD, Allow, unknown paths, targets, conditions, ranges."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from support.bare import PARSERS
from support.connection import connection_to
from support.documents import documented_problems
from support.instance import Instance, running_instance
from tidings.http.docs import ASSETS
from tidings_local.backends import embedded_backends
from unit.fakes import client

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = ("home", "auth", "messages", "logs")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
OF_ONE_REQUEST = {"date", "x-request-id", "x-trace-id", "traceresponse"}
ID = "01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17"
NO_ENTRY = "?trace_id=" + "0" * 32
"""The log of a trace that there is not; any other grows with each call."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PARSERS)
async def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """An embedded instance on each HTTP parser: none of these rules depends on the backends."""
    folder: Path = tmp_path_factory.mktemp("rules")
    with embedded_backends(folder) as backends:
        async with running_instance(backends, folder, request.param) as running:
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def origins(instance: Instance) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client for each service as its neighbours reach it, and one for the gateway, through the server."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(client(instance.services.apps[name], **instance.states[name]))
            for name in APPS[1:]
        } | {"home": instance.http}


def app_of(instance: Instance, name: str) -> FastAPI:
    return instance.gateway.apps[name]


def methods_by_path(app: FastAPI) -> dict[str, set[str]]:
    """Return the methods that the routes of an application name, by path; a path names an asset or nobody."""
    found: dict[str, set[str]] = {}
    for context in iter_route_contexts(app.routes):
        path = str(context.path_format).format(name="docs.js", user_id=ID, session_id=ID)
        found.setdefault(path, set()).update(context.methods or ())
    return found


def paths_with_get(instance: Instance, name: str) -> Iterator[str]:
    for path, methods in methods_by_path(app_of(instance, name)).items():
        if "GET" in methods:
            yield from [f"/docs/assets/{asset}" for asset in ASSETS] if "/assets/" in path else [path]


def lasting(answer: httpx.Response) -> list[tuple[str, str]]:
    return [pair for pair in answer.headers.multi_items() if pair[0] not in OF_ONE_REQUEST]


@pytest.mark.parametrize("name", APPS)
async def test_head_answers_every_get_path(
    instance: Instance, origins: dict[str, httpx.AsyncClient], name: str
) -> None:
    token = await instance.admin()
    paths = list(paths_with_get(instance, name))
    assert {"/docs", "/docs/events", "/asyncapi.json", "/health/live", "/docs/assets/docs.css"} <= set(paths)
    for path in paths:
        url = path + NO_ENTRY if path == "/api/logs" else path
        get, head = [await origins[name].request(method, url, headers=token) for method in ("GET", "HEAD")]
        assert (get.status_code, head.status_code) == (200, 200), path
        assert lasting(head) == lasting(get), path
        assert head.headers["content-length"] == str(len(get.content)), path
        assert head.content == b""


async def test_head_of_a_refused_call_answers_as_get(instance: Instance) -> None:
    for path in ("/api/me", "/api/messages?limit=0", "/api/login", "/nothing", "/docs/assets/none.js"):
        get, head = [await instance.http.request(method, path) for method in ("GET", "HEAD")]
        assert head.status_code == get.status_code >= 400
        assert head.headers["content-type"] == "application/problem+json"
        assert [name for name, _ in lasting(head)] == [name for name, _ in lasting(get)]
        assert head.content == b""


async def test_head_sends_no_byte_after_its_headers(instance: Instance) -> None:
    for path in ("/", "/docs/assets/swagger-ui-bundle.js", "/.well-known/jwks.json", "/api/me"):
        async with connection_to(instance.url) as connection:
            connection.writer.write(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            head, rest = (await connection.rest()).split(b"\r\n\r\n")
            assert b"content-length: " in head.lower()
            assert rest == b""


@pytest.mark.parametrize("name", APPS)
async def test_wrong_method_is_405_with_the_right_ones(
    instance: Instance, origins: dict[str, httpx.AsyncClient], name: str
) -> None:
    for path, named in methods_by_path(app_of(instance, name)).items():
        allowed = named | ({"HEAD"} if "GET" in named else set())
        for method in METHODS:
            if method in allowed:
                continue
            answer = await origins[name].request(method, path)
            if method == "BREW" and answer.status_code == 501:
                continue  # the server knows no such method, so no application is asked
            assert answer.status_code == 405, (method, path)
            assert answer.headers["allow"] == ", ".join(sorted(allowed)), (method, path)
            if method != "HEAD":
                assert answer.json()["type"] == "urn:tidings:problem:method-not-allowed"


@pytest.mark.parametrize("name", APPS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_unknown_path_is_a_traced_problem(origins: dict[str, httpx.AsyncClient], name: str, method: str) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = await origins[name].request(
        method, "/nothing", headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    )
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"] == trace_id
    assert answer.headers["x-request-id"]


async def test_unreadable_header_is_no_error_of_any_app(origins: dict[str, httpx.AsyncClient]) -> None:
    for name in APPS:
        headers = [(b"User-Agent", b"\\x \xff \xea\xb0\x80"), (b"Accept", b"\xff"), (b"Cookie", b"\xff=\xff")]
        assert (await origins[name].get("/nothing", headers=headers)).status_code == 404, name


def require_traced_problem(answer: httpx.Response) -> None:
    """Require that an answer is a problem with the trace id of its header, and has a request id."""
    assert answer.status_code >= 400, answer.url
    assert answer.headers["content-type"] == "application/problem+json", (answer.url, answer.text)
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert re.fullmatch(r"[0-9a-f]{32}", problem.get("trace_id", "")), answer.request
    assert problem["trace_id"] == answer.headers["x-trace-id"], answer.url
    assert problem["trace_id"] in answer.headers["traceresponse"]
    assert answer.headers["x-request-id"]


NOTHING = (
    *("/metrics", "/openapi.json", "/openapi/nope.json", "/docs/assets/nope", "/docs/assets/docs.html", "/health"),
    *("/health/nope", "/docs/", "/docs/nope", "/asyncapi.yaml", "/openapi/auth.json/x", "/.well-known/nope"),
    *("/api/nope", "/api/messages/nope/x", "/favicon.ico", "/nothing"),
)
"""Paths of the gateway that name nothing, many of them beside paths that operators and browsers poll."""


async def test_each_refusal_by_the_gateway_is_a_traced_problem(instance: Instance) -> None:
    known = {path for name in APPS for path in methods_by_path(app_of(instance, name))}
    for path in (*NOTHING, *(known - {"/openapi.json"})):
        for method in ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            answer = await instance.http.request(method, path)
            if path in NOTHING:
                assert answer.status_code in (404, 405), (method, path)
            if answer.status_code >= 400:
                require_traced_problem(answer)


@pytest.mark.parametrize("name", APPS)
async def test_refusal_beside_polled_paths_keeps_its_trace(origins: dict[str, httpx.AsyncClient], name: str) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    for call in ("PUT /docs", "GET /docs/assets/nope", "GET /metrics", "POST /health/ready"):
        answer = await origins[name].request(*call.split(), headers=headers)
        require_traced_problem(answer)
        assert answer.json()["trace_id"] == trace_id


async def test_wrong_method_on_home_is_a_traced_problem(instance: Instance) -> None:
    answer = await instance.http.post("/")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"]


ABSOLUTE = {
    "http://tidings.test/api/messages?limit=1": 200,
    "HTTP://tidings.test:80/api/messages": 200,
    "https://tidings.test/api/messages": 200,
    "http://[::1]:8080/api/messages": 200,
    "http://tidings.test/%61pi/messages": 200,
    "http://tidings.test//api/messages": 404,
    "http://tidings.test/http://tidings.test/api/messages": 404,
    "http://tidings.test/": 200,
    "http://tidings.test/nothing": 404,
    "http://tidings.test/health/live": 200,
}
ODD_TARGETS = [
    "*",
    "/*",
    "//api/messages",
    "///api/messages",
    "/api//messages",
    "/api/./messages",
    "/api/x/../messages",
    "/api/messages/",
    "/API/messages",
    "/http://tidings.test/api/messages",
    "http%3A//tidings.test/api/messages",
    "tidings.test:80",
    "tidings.test",
    "http:/api/messages",
    "http:///api/messages",
    "http://user:secret@tidings.test/nothing",
    "ftp://tidings.test/nothing",
    "/api/messages%00",
    "/api/messages%ff",
    "/api/%zz",
    "/api/messages;x",
    "/api\\messages",
    "/docs/assets/..%2f..%2fapp.py",
    "/api/messages/%2e%2e/%2e%2e/health/ready",
    "?x",
    "",
]
"""Targets that name nothing here; each is refused, and none is an error of ours."""


async def status_of(instance: Instance, method: str, target: str, token: dict[str, str]) -> int:
    async with connection_to(instance.url) as connection:
        lines = [f"{method} {target} HTTP/1.1", "Host: other.test", "Connection: close", "Content-Length: 0"]
        lines += [f"{name}: {value}" for name, value in token.items()]
        connection.writer.write("\r\n".join([*lines, "", ""]).encode())
        return int((await connection.rest()).split()[1])


async def test_whole_url_as_target_is_answered_as_its_path(instance: Instance) -> None:
    token = await instance.person()
    for target, status in ABSOLUTE.items():
        assert await status_of(instance, "GET", target, token) == status, target
        assert await status_of(instance, "HEAD", target, token) == status, target


async def test_whole_url_without_path_is_the_home_page(instance: Instance) -> None:
    for target in ("http://tidings.test", "http://tidings.test?x"):
        assert await status_of(instance, "GET", target, {}) == 200


async def test_no_form_of_target_gets_in_without_a_token(instance: Instance) -> None:
    for target, status in ABSOLUTE.items():
        if "api/messages" in target and status == 200:
            assert await status_of(instance, "GET", target, {}) == 401, target


async def test_odd_target_is_refused(instance: Instance) -> None:
    token = await instance.person()
    for target in ODD_TARGETS:
        for method in ("GET", "HEAD", "POST", "OPTIONS", "CONNECT"):
            assert await status_of(instance, method, target, token) in (400, 404, 405, 501), (method, target)


async def test_host_of_whole_url_counts(instance: Instance) -> None:
    """A page of our own is known by the host that was called, which is that of the target."""
    await instance.person()
    cookie = next(it for it in instance.http.cookies.jar if it.path == "/api/refresh").value
    own = {"Cookie": f"tidings_refresh={cookie}", "X-Tidings-Client": "tests", "Origin": "http://tidings.test"}
    assert await status_of(instance, "POST", "http://tidings.test/api/refresh", own) == 200
    assert await status_of(instance, "POST", "/api/refresh", own) == 403


async def test_unchanged_page_is_304(instance: Instance) -> None:
    for path in ("/", "/docs", "/docs/events", "/asyncapi.json", *(f"/docs/assets/{asset}" for asset in ASSETS)):
        full = await instance.http.get(path)
        tag = full.headers["etag"]
        for sent in (tag, f"W/{tag}", "*", f'"other", {tag}', f'"other",W/{tag} , "more"'):
            for method in ("GET", "HEAD"):
                answer = await instance.http.request(method, path, headers={"If-None-Match": sent})
                assert (answer.status_code, answer.content) == (304, b""), (path, sent)
                for name in ("etag", "cache-control", "content-security-policy", "x-content-type-options"):
                    assert answer.headers[name] == full.headers[name]
                assert answer.headers.get("content-length", "0") == "0"
                assert "content-type" not in answer.headers
        several = [("If-None-Match", '"other"'), ("If-None-Match", tag), ("Range", "bytes=0-9")]
        assert (await instance.http.get(path, headers=several)).status_code == 304


async def test_changed_page_is_sent_whole(instance: Instance) -> None:
    for path in ("/", "/docs", "/docs/events", "/asyncapi.json", "/docs/assets/docs.js"):
        full = await instance.http.get(path)
        tag = full.headers["etag"]
        for sent in ('"other"', tag.strip('"'), tag[:-2] + '"', "", "garbage", 'W/"other"'):
            answer = await instance.http.get(path, headers={"If-None-Match": sent, "If-Modified-Since": "garbage"})
            assert (answer.status_code, answer.content) == (200, full.content), (path, sent)


async def test_asset_unchanged_since_its_date_is_304(instance: Instance) -> None:
    path = "/docs/assets/docs.js"
    date = (await instance.http.get(path)).headers["last-modified"]
    assert (await instance.http.get(path, headers={"If-Modified-Since": date})).status_code == 304
    for wrong in ("Wed, 01 Jan 99999 00:00:00 +9999", "tomorrow", "1", ""):
        assert (await instance.http.get(path, headers={"If-Modified-Since": wrong})).status_code == 200, wrong
    later = {"If-Modified-Since": date, "If-None-Match": '"other"'}  # the tag counts
    assert (await instance.http.get(path, headers=later)).status_code == 200
    assert (await instance.http.post(path, headers={"If-None-Match": "*"})).status_code == 405


MALFORMED_RANGES = ["x", "bytes", "bytes=", "bytes=x", "bytes=-", "bytes=5-1", "bytes=,", "bytes=a-b", "bytes 0-1", ""]
UNSATISFIABLE_RANGES = ["bytes=99999999-", "bytes=99999999-99999999", "bytes=-0", "bytes=0-1,99999999-"]
WHOLE_RANGES = ["items=0-1", "items=x", "lines=1-2"]
"""Ranges in other units, which a server has to ignore (RFC 9110 section 14.2)."""


async def test_wrong_range_of_an_asset_is_a_problem(instance: Instance) -> None:
    path = "/docs/assets/docs.js"
    size = len((await instance.http.get(path)).content)
    documented = documented_problems((await instance.http.get("/openapi/auth.json")).json())
    for sent in MALFORMED_RANGES + UNSATISFIABLE_RANGES:
        answer = await instance.http.get(path, headers={"Range": sent})
        require_traced_problem(answer)
        expected = 400 if sent in MALFORMED_RANGES else 416
        assert answer.status_code == expected, sent
        assert (expected, answer.json()["type"]) in documented, sent
        assert answer.headers.get("content-range") == (f"bytes */{size}" if expected == 416 else None), sent


async def test_right_range_of_an_asset_is_sent(instance: Instance) -> None:
    path = "/docs/assets/docs.js"
    full = (await instance.http.get(path)).content
    for sent, part in {"bytes=0-1": full[:2], "Bytes=5-": full[5:], "bytes=-7": full[-7:]}.items():
        answer = await instance.http.get(path, headers={"Range": sent})
        assert (answer.status_code, answer.content) == (206, part), sent
    for headers in [{"Range": sent} for sent in WHOLE_RANGES] + [{"Range": "bytes=x", "If-Range": '"other"'}]:
        answer = await instance.http.get(path, headers=headers)
        assert (answer.status_code, answer.content) == (200, full), headers


async def test_head_ignores_range(instance: Instance) -> None:
    path = "/docs/assets/docs.js"
    for sent in ("bytes=0-1", "x", "bytes=99999999-"):
        answer = await instance.http.head(path, headers={"Range": sent})
        assert (answer.status_code, lasting(answer)) == (200, lasting(await instance.http.get(path))), sent


async def test_call_of_the_api_ignores_if_none_match(instance: Instance) -> None:
    token = await instance.person()
    answer = await instance.http.get("/api/me", headers=token | {"If-None-Match": "*"})
    assert answer.status_code == 200
