"""Problems: every error answer is a problem document, and none repeats what was sent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Query
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr, field_validator

from support.documents import operations
from tidings.database.transactions import DatabaseUnavailable
from tidings.http.app import create_service
from tidings.http.json_bodies import JsonRoute
from tidings.http.overload import MAX_BODY
from tidings.http.pages import BadCursor
from tidings.http.problems import Problem, Varying, _pointer, raises
from tidings.http.rate_limits import Policy, too_many
from tidings.redis.errors import RedisUnavailable
from tidings.telemetry.setup import Telemetry
from unit.fakes import EmittedActivity, client

CANARY = "Canary-4711"
REQUIRED = {"type", "title", "status", "detail", "instance", "trace_id"}


class Taken(Exception):
    """Mapped below 500: its own words are for the client."""


class Broken(Exception):
    """Mapped to 503: its own words are for the operators."""


class Exhausted(Exception):
    """Mapped by a function: says itself how long to wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"wait {seconds} s")
        self.seconds = seconds


class Deep(BaseModel):
    name: str


class Body(BaseModel):
    username: str = Field(min_length=3)
    password: SecretStr
    deep: list[Deep] = []
    odd: int = Field(default=0, alias="a/b~c")

    @field_validator("password")
    @classmethod
    def _long(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < 20:
            raise ValueError("a password has at least 20 characters")
        return value


router = APIRouter(route_class=JsonRoute)


@router.post("/things")
async def post(body: Body) -> str:
    return body.username


@router.get("/things")
async def things(limit: Annotated[int, Query(ge=1)] = 1) -> int:
    return limit


@router.get("/things/{number}")
async def thing(number: int) -> int:
    return number


@router.get("/raise/{what}")
@raises(Taken, Broken, Exhausted)
async def raise_it(what: str) -> None:
    raise {
        "taken": Taken(f"{what} is taken"),
        "silent": Taken(),
        "broken": Broken(CANARY),
        "database": DatabaseUnavailable(CANARY),
        "redis": RedisUnavailable(CANARY),
        "exhausted": Exhausted(8),
        "cursor": BadCursor("not this list's"),
        "unexpected": RuntimeError(CANARY),
        "gone": HTTPException(404, CANARY),
        "teapot": HTTPException(418, "short and stout", {"X-Pot": "tea"}),
    }[what]


@asynccontextmanager
async def nothing(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {}


POLICIES = [Policy("a minute", 5, 60), Policy("a day", 100, 86_400)]

APP = create_service(
    name="test",
    summary="A service for tests.",
    public_url="https://tidings.test",
    address_key="0123456789abcdef",
    telemetry=Telemetry("tidings-test"),
    lifespan=nothing,
    routers=[],
    public_routers=[router],
    errors={
        Taken: Problem(409, "taken", "It is taken.", {"X-Hint": "other"}),
        Broken: Problem(503, "broken", "It is broken.", {"Retry-After": "7"}),
        Exhausted: Varying(
            lambda error: too_many("exhausted", str(error), POLICIES, "a minute", error.seconds), Exhausted(3)
        ),
    },
)


async def ask(method: str, path: str, **options: Any) -> httpx.Response:
    async with client(APP, activity=EmittedActivity()) as http:
        return await http.request(method, path, **options)


def problem(answer: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """Check what every problem has, and return the document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert set(document) - {"errors"} == REQUIRED
    assert document["type"] == f"urn:tidings:problem:{name}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["instance"] == answer.request.url.raw_path.decode().partition("?")[0]
    assert document["trace_id"] == answer.headers["x-trace-id"]
    assert len(document["trace_id"]) == 32
    return document


async def test_refused_input_is_named_by_pointer_and_never_repeated() -> None:
    sent = {"username": "a", "password": CANARY, "deep": [{"name": "x"}, {"name": {"x": CANARY}}], "a/b~c": CANARY}
    answer = await ask("POST", "/things", json=sent)
    document = problem(answer, 422, "validation")
    pointers = {error["pointer"]: error["detail"] for error in document["errors"]}
    assert set(pointers) == {"/username", "/password", "/deep/1/name", "/a~1b~0c"}
    assert "at least 20 characters" in pointers["/password"]
    assert document["detail"] == "4 fields were refused; see errors."
    assert CANARY not in answer.text


async def test_every_refused_field_has_pointer_and_detail_and_nothing_else() -> None:
    answer = await ask("POST", "/things", json={"username": CANARY})
    document = problem(answer, 422, "validation")
    assert [set(error) for error in document["errors"]] == [{"pointer", "detail"}]
    assert document["detail"].startswith("1 field was refused")
    assert CANARY not in answer.text


@pytest.mark.parametrize(
    ("path", "pointer"), [("/things?limit=0", "limit"), ("/things?limit=Canary-4711", "limit"), ("/things/x", "number")]
)
async def test_a_refused_parameter_is_named(path: str, pointer: str) -> None:
    answer = await ask("GET", path)
    document = problem(answer, 422, "validation")
    assert [error["pointer"] for error in document["errors"]] == [pointer]
    assert CANARY not in answer.text


@given(st.lists(st.text() | st.integers(min_value=0), min_size=1))
def test_a_pointer_can_be_resolved_to_the_field(path: list[str | int]) -> None:
    pointer = _pointer(["body", *path])
    assert [part.replace("~1", "/").replace("~0", "~") for part in pointer.removeprefix("/").split("/")] == [
        str(part) for part in path
    ]


@pytest.mark.parametrize(
    "content",
    [b"{", b"", f'{{"password": "{CANARY}"'.encode(), b"\xff\xfe", b"[" * 20_000, b'{"a": NaN', CANARY.encode()],
    ids=lambda content: repr(content)[:30],
)
async def test_a_body_that_is_no_json_is_refused_and_not_repeated(content: bytes) -> None:
    answer = await ask("POST", "/things", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    if answer.status_code == 400:
        problem(answer, 400, "malformed-json")
    else:
        assert content == b""
        problem(answer, 422, "validation")
    assert CANARY not in answer.text


@pytest.mark.parametrize("value", [b"null", b"[]", b"1", f'"{CANARY}"'.encode()])
async def test_json_that_is_no_object_is_refused_at_the_root(value: bytes) -> None:
    answer = await ask("POST", "/things", content=value, headers={"content-type": "application/json"})
    document = problem(answer, 422, "validation")
    assert [error["pointer"] for error in document["errors"]] == [""]
    assert CANARY not in answer.text


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
async def test_a_body_of_another_kind_is_415(media_type: str | None) -> None:
    content = b'{"username": "mina", "password": "a password of enough letters"}'
    headers = {"content-type": media_type} if media_type else {}
    problem(await ask("POST", "/things", content=content, headers=headers), 415, "unsupported-media-type")


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"])
async def test_json_by_any_of_its_names_is_taken(media_type: str) -> None:
    content = b'{"username": "mina", "password": "a password of enough letters"}'
    answer = await ask("POST", "/things", content=content, headers={"content-type": media_type})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ["/nothing", "/things/1/more", "/없다"])
async def test_an_unknown_path_is_404(path: str) -> None:
    problem(await ask("GET", path), 404, "not-found")


@pytest.mark.parametrize(
    "path", ["/nothing%3Fx/%EC%97%86%EB%8B%A4", "/nothing%20here", "/nothing%25", "/nothing%22%3Cb%3E", "/nothing%23x"]
)
async def test_an_instance_is_a_uri_reference(path: str) -> None:
    assert problem(await ask("GET", path), 404, "not-found")["instance"] == path


async def test_a_wrong_method_is_405_and_says_which_are_right() -> None:
    answer = await ask("DELETE", "/things/1")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD"


async def test_a_body_over_the_limit_is_413_when_it_comes_in_chunks() -> None:
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        yield b'{"username": "'
        for _ in range(1_000):
            read += 1024
            yield b"x" * 1024

    answer = await ask("POST", "/things", content=chunks(), headers={"content-type": "application/json"})
    assert problem(answer, 413, "content-too-large")["title"] == "Content Too Large"
    assert read < MAX_BODY * 2


async def test_a_body_whose_declared_length_is_over_the_limit_is_413_too() -> None:
    answer = await ask("POST", "/things", content=b"x" * (MAX_BODY + 1), headers={"content-type": "application/json"})
    assert answer.request.headers["content-length"] == str(MAX_BODY + 1)
    assert problem(answer, 413, "content-too-large")["title"] == "Content Too Large"
    assert answer.headers["x-request-id"]
    assert answer.headers["x-frame-options"] == "DENY"


async def test_refused_input_has_the_title_of_today() -> None:
    assert problem(await ask("GET", "/things/x"), 422, "validation")["title"] == "Unprocessable Content"


async def test_a_body_at_the_limit_is_taken() -> None:
    frame = '{"username": "mina", "password": "a password of enough letters", "more": ""}'
    content = frame.replace('""', f'"{"x" * (MAX_BODY - len(frame))}"')
    assert len(content) == MAX_BODY
    answer = await ask("POST", "/things", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 200


async def test_a_mapped_error_below_500_uses_its_own_words() -> None:
    answer = await ask("GET", "/raise/taken")
    assert problem(answer, 409, "taken")["detail"] == "taken is taken"
    assert answer.headers["x-hint"] == "other"


async def test_a_mapped_error_without_words_uses_those_of_the_table() -> None:
    assert problem(await ask("GET", "/raise/silent"), 409, "taken")["detail"] == "It is taken."


@pytest.mark.parametrize(
    ("what", "name", "after"),
    [("broken", "broken", "7"), ("database", "unavailable", "1"), ("redis", "unavailable", "1")],
)
async def test_a_mapped_error_from_500_on_hides_its_words_and_says_when_to_retry(
    what: str, name: str, after: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await ask("GET", f"/raise/{what}")
    problem(answer, 503, name)
    assert answer.headers["retry-after"] == after
    assert CANARY not in answer.text
    [line] = caplog.messages
    assert line.startswith(f"answered 503 {name}: ")
    assert CANARY in line  # operators learn why


async def test_an_error_that_says_how_long_to_wait_is_429_with_the_fields_of_rate_limits() -> None:
    answer = await ask("GET", "/raise/exhausted")
    assert problem(answer, 429, "exhausted")["detail"] == "wait 8 s"
    assert answer.headers["retry-after"] == "8"
    assert answer.headers["ratelimit-policy"] == '"a minute";q=5;w=60, "a day";q=100;w=86400'
    assert answer.headers["ratelimit"] == '"a minute";r=0;t=8'


async def test_a_bad_cursor_is_400() -> None:
    problem(await ask("GET", "/raise/cursor"), 400, "bad-cursor")


async def test_an_unexpected_error_is_500_and_says_nothing_of_its_cause() -> None:
    answer = await ask("GET", "/raise/unexpected")
    problem(answer, 500, "unexpected")
    assert CANARY not in answer.text
    assert "RuntimeError" not in answer.text


async def test_every_404_that_no_table_names_has_the_same_words() -> None:
    fixed = problem(await ask("GET", "/nothing"), 404, "not-found")["detail"]
    assert problem(await ask("GET", "/raise/gone"), 404, "not-found")["detail"] == fixed


async def test_an_http_error_keeps_its_words_and_headers() -> None:
    answer = await ask("GET", "/raise/teapot")
    assert problem(answer, 418, "im-a-teapot")["detail"] == "short and stout"
    assert answer.headers["x-pot"] == "tea"


async def test_the_api_document_is_served_under_both_names_and_every_error_in_it_is_a_problem() -> None:
    document = (await ask("GET", "/openapi.json")).json()
    assert (await ask("GET", "/openapi/test.json")).json() == document
    assert document["servers"] == [{"url": "https://tidings.test"}]
    assert "HTTPValidationError" not in str(document)
    assert set(document["components"]["schemas"]["ProblemDetails"]["properties"]) == REQUIRED | {"errors"}
    assert "InvalidField" in document["components"]["schemas"]
    for _, _, operation in operations(document):
        errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert set(errors) >= {"500", "503"}
        assert all("application/problem+json" in answer["content"] for answer in errors.values())


def examples_of(status: int, document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    answer = document["paths"][path][method]["responses"][str(status)]
    examples: dict[str, Any] = answer["content"]["application/problem+json"]["examples"]
    return {name: example["value"] for name, example in examples.items()}


async def test_what_a_route_raises_is_documented_from_the_table_with_its_headers() -> None:
    document = (await ask("GET", "/openapi.json")).json()
    assert examples_of(409, document, "get", "/raise/{what}")["taken"]["detail"] == "It is taken."
    assert set(examples_of(503, document, "get", "/raise/{what}")) == {
        "broken",
        "overloaded",
        "too-many-connections",
        "unavailable",
    }
    limited = document["paths"]["/raise/{what}"]["get"]["responses"]["429"]
    assert limited["headers"]["Retry-After"]["example"] == "3"
    assert set(limited["headers"]) == {"Retry-After", "RateLimit", "RateLimit-Policy"}


async def test_an_operation_is_documented_with_what_its_input_may_be_refused_for() -> None:
    document = (await ask("GET", "/openapi.json")).json()
    posting, reading = (set(document["paths"]["/things"][method]["responses"]) for method in ("post", "get"))
    assert posting == {"200", "400", "408", "413", "415", "422", "431", "500", "503", "505"}
    assert reading == {"200", "400", "408", "413", "422", "431", "500", "503", "505"}
    assert examples_of(422, document, "get", "/things")["validation"]["errors"][0]["pointer"] == "limit"
