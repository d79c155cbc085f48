"""Request bodies: whatever a body is, each call that takes one answers as its API document says."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from support.instance import Instance, running_instance
from tidings.connections import Parser
from tidings_local.backends import embedded_backends

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = ("auth", "messages", "logs")
PARSERS: list[Parser] = ["h11", "httptools"]
Headers = list[tuple[str, str]]

JSON: Headers = [("Content-Type", "application/json")]
MALFORMED = (400, "malformed-json", None)
NOT_JSON = (415, "unsupported-media-type", "Accept")
CODED = (415, "unsupported-content-coding", "Accept-Encoding")
INVALID = (422, "validation", None)

WRONG_BODIES: dict[str, tuple[bytes, tuple[int, str, str | None]]] = {
    "EUC-KR": ('{"message": "안녕"}'.encode("euc-kr"), MALFORMED),
    "Latin-1": ('{"message": "é"}'.encode("latin-1"), MALFORMED),
    "UTF-16": ('{"message": "a"}'.encode("utf-16"), MALFORMED),
    "UTF-16 without byte order mark": ('{"message": "a"}'.encode("utf-16-le"), MALFORMED),
    "UTF-32": ('{"message": "a"}'.encode("utf-32"), MALFORMED),
    "half a surrogate pair in bytes": (b'{"message": "\xed\xa0\x80"}', MALFORMED),
    "half a surrogate pair as escape": (
        b'{"message": "\\ud800", "username": "\\ud800", "disabled": "\\ud800"}',
        INVALID,
    ),
    "overlong UTF-8": (b'{"message": "\xc0\xaf"}', MALFORMED),
    "gzip that no header names": (
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3",
        MALFORMED,
    ),
    "NaN": (b'{"message": NaN}', MALFORMED),
    "Infinity": (b'{"message": -Infinity}', MALFORMED),
    "a name twice": (b'{"message": "a", "message": "b"}', MALFORMED),
    "a name twice inside": (b'{"more": [{"a": 1, "a": 2}]}', MALFORMED),
    "a number of 5,000 digits": (b'{"message": ' + b"9" * 5_000 + b"}", MALFORMED),
    "a float beyond all": (b'{"message": 1e999, "username": 1e999, "password": 1, "disabled": 1e999}', INVALID),
    "nested deeply": (b"[" * 20_000 + b"]" * 20_000, MALFORMED),
    "objects nested deeply": (b'{"a":' * 9_000 + b"1" + b"}" * 9_000, MALFORMED),
    "nested but readable": (b"[" * 50 + b"]" * 50, INVALID),
    "truncated": (b'{"message": "a', MALFORMED),
    "two values": (b"{} {}", MALFORMED),
    "single quotes": (b"{'message': 'a'}", MALFORMED),
    "a trailing comma": (b'{"message": "a",}', MALFORMED),
    "a control character": (b'{"message": "a\nb"}', MALFORMED),
    "a form": (b"message=a&username=b", MALFORMED),
    "two byte order marks": (b"\xef\xbb\xbf\xef\xbb\xbf{}", MALFORMED),
    "only a byte order mark": (b"\xef\xbb\xbf", MALFORMED),
    "only space": (b" ", MALFORMED),
    "NUL": (b"\0", MALFORMED),
    "nothing": (b"", INVALID),
    "null": (b"null", INVALID),
    "a list": (b"[]", INVALID),
    "a text": (b'"a"', INVALID),
}
"""Bodies that say that they are JSON, with the status, problem type and header of their answer."""

WRONG_HEADERS: dict[str, tuple[Headers, tuple[int, str, str | None]]] = {
    **{
        f"Content-Encoding: {coding}": ([*JSON, ("Content-Encoding", coding)], CODED)
        for coding in ("gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip", "gzip;q=1", "unknown", "x" * 2_000)
    },
    "two Content-Encoding": ([*JSON, ("Content-Encoding", "identity"), ("Content-Encoding", "br")], CODED),
    **{
        f"charset={charset}": ([("Content-Type", f"application/json; charset={charset}")], NOT_JSON)
        for charset in (
            *("euc-kr", "latin-1", "iso-8859-1", "utf-16", '"utf-16"', "utf-8-sig", "", "x" * 2_000),
            *("utf-8; charset=utf-8", "utf-16; charset=utf-8", "utf-8; CHARSET=utf-16"),
        )
    },
    **{
        f"Content-Type: {media_type}"[:60]: ([("Content-Type", media_type)], NOT_JSON)
        for media_type in (
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonp",
            "application/json-seq",
            "application/json/x",
            "application/json, text/plain",
            "*/*",
            "json",
            "",
            ";" * 10_000,
        )
    },
    "no Content-Type": ([], NOT_JSON),
    "two Content-Type": ([*JSON, ("Content-Type", "text/plain")], NOT_JSON),
}
"""Headers that do not say that a body is JSON in UTF-8."""

RIGHT_HEADERS: list[Headers] = [
    JSON,
    [("Content-Type", "Application/JSON")],
    [("Content-Type", "application/vnd.tidings+json")],
    [("Content-Type", "application/json;charset=UTF-8")],
    [("Content-Type", 'application/json; charset="utf-8"')],
    [("Content-Type", "application/json; Charset=utf8; q=x")],
    [*JSON, ("Content-Encoding", "identity")],
    [*JSON, ("Content-Encoding", "Identity"), ("Content-Encoding", "")],
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PARSERS)
async def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """An embedded instance on each HTTP parser: how a body is read does not depend on the backends."""
    folder: Path = tmp_path_factory.mktemp("bodies")
    with embedded_backends(folder) as backends:
        async with running_instance(backends, folder, request.param) as running:
            yield running


async def operations_with_body(instance: Instance) -> dict[str, dict[str, Any]]:
    """Return each operation that takes a body, by method and path; the paths name nobody."""
    documents = [(await instance.http.get(f"/openapi/{name}.json")).json() for name in NAMES]
    return {
        f"{method.upper()} {path.format(user_id='01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17')}": operation
        for document in documents
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    }


async def send(instance: Instance, call: str, body: bytes, headers: Headers) -> httpx.Response:
    method, path = call.split()
    return await instance.http.request(method, path, content=body, headers=headers)


def require_documented(answer: httpx.Response, operation: dict[str, Any]) -> None:
    """Require that the operation's document names the answer's status, problem type and headers."""
    documented = operation["responses"][str(answer.status_code)]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] in documented["description"]
    stated = {name.lower() for name in documented["headers"]}
    assert {"accept", "accept-encoding"} & answer.headers.keys() <= stated


async def test_wrong_body_is_answered_as_documented(instance: Instance) -> None:
    token = list((await instance.admin()).items())
    operations = await operations_with_body(instance)
    assert len(operations) >= 6
    for call, operation in operations.items():
        answers = await asyncio.gather(*(send(instance, call, body, token + JSON) for body, _ in WRONG_BODIES.values()))
        for (name, (_, expected)), answer in zip(WRONG_BODIES.items(), answers, strict=True):
            assert (answer.status_code, answer.json()["type"].rsplit(":")[-1]) == expected[:2], (
                call,
                name,
                answer.text,
            )
            require_documented(answer, operation)


async def test_body_not_declared_as_json_is_415(instance: Instance) -> None:
    token = list((await instance.person()).items())
    for call, operation in (await operations_with_body(instance)).items():
        sent = [send(instance, call, b"{}", token + headers) for headers, _ in WRONG_HEADERS.values()]
        answers = await asyncio.gather(*sent)
        for (name, (_, (status, type_, header))), answer in zip(WRONG_HEADERS.items(), answers, strict=True):
            assert (answer.status_code, answer.json()["type"].rsplit(":")[-1]) == (status, type_), (call, name)
            assert header in operation["responses"]["415"]["headers"]
            assert header is not None
            assert answer.headers[header] == {"Accept": "application/json", "Accept-Encoding": "identity"}[header]
            require_documented(answer, operation)


@pytest.mark.parametrize("headers", RIGHT_HEADERS, ids=str)
async def test_body_declared_as_json_is_taken(instance: Instance, headers: Headers) -> None:
    token = list((await instance.person()).items())
    body = json.dumps({"message": "안녕 [[[{{{ " + "[" * 500}, ensure_ascii=False).encode()
    for given in (body, b"\xef\xbb\xbf" + body, b" \r\n\t" + body + b"\n"):
        answer = await send(instance, "POST /api/messages", given, token + headers)
        assert answer.status_code == 201, answer.text
        assert answer.json()["message"].startswith("안녕 [[[{{{ [[[")


TEXTS = ["", " ", "a", "ab\0cd", "\ud800", "안녕하세요 반갑습니다", "x" * 300, 1, None]
INVALID_BODIES: list[Any] = [
    *(dict.fromkeys(("username", "message", "disabled", "role", "new_password"), text) for text in TEXTS),
    *({"username": "mina-4711", "password": text} for text in ["short", "password123", "with mina-4711", "x" * 300]),
    *({"current_password": "any", "new_password": text} for text in ["short", "password123", "x" * 300]),
    {"disabled": None, "role": None},
    {"message": "x" * 10_001},
    {"username": "x" * 257, "password": "x" * 1_025},
    [],
]
INVALID_QUERIES = ["limit=0", "limit=x", "limit=101", "cursor=" + "x" * 513, "trace_id=x", "type=" + "x" * 101]


async def test_refused_field_is_described_by_a_sentence_alone(instance: Instance) -> None:
    """No detail begins with what pydantic puts in front of a validator's words."""
    token = list((await instance.admin()).items())
    answers = [
        await send(instance, call, json.dumps(body).encode(), token + JSON)
        for call in await operations_with_body(instance)
        for body in INVALID_BODIES
        if not (call == "POST /api/login" and "mina-4711" in str(body))  # a wrong password, which is throttled
    ]
    for path in ("/api/messages", "/api/logs", "/api/sessions", "/api/users", "/api/users/none"):
        answers += [await instance.http.get(f"{path}?{query}", headers=token) for query in INVALID_QUERIES]
    answers.append(await instance.http.delete("/api/sessions/none", headers=token))
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answers.append(await send(instance, "POST /api/messages", b'{"message": "a"}', token + JSON + twice))
    details = {error["detail"] for it in answers if it.status_code == 422 for error in it.json()["errors"]}
    assert any("letters of any script" in detail for detail in details)  # a validator of ours
    assert len(details) >= 15
    for detail in details:
        assert detail[0].isupper(), detail
        assert "error, " not in detail
        assert "ssertion" not in detail
