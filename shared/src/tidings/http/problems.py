"""Problems: every error answer is `application/problem+json` (RFC 9457) and carries the trace id.

An error without transport is mapped to a `Problem` in one table for each service; this module renders it.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from tidings.database.transactions import DatabaseUnavailable
from tidings.idempotency.key import IdempotencyKeyInUse, IdempotencyKeyReused
from tidings.known_secrets import mask
from tidings.redis.errors import RedisUnavailable
from tidings.repeated_warnings import RepeatedWarnings
from tidings.telemetry.propagation import current_trace_id

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:tidings:problem:"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Problem:
    """What an error means to a client."""

    status: int
    name: str
    """Last part of the problem's `type`, e.g. `username-taken`."""
    detail: str
    """What happened and what to change."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Sequence[str] = ()
    """Values of `Set-Cookie`, each a header of its own."""


@dataclass(frozen=True)
class Varying:
    """What errors of one type mean when it is not always the same, e.g. how long to wait."""

    make: Callable[[Any], Problem]
    """Makes the problem of an error."""
    example: Exception
    """One such error, for the API document."""


class UnsupportedMediaType(Exception):
    """The body is not said to be JSON in UTF-8."""


class UnsupportedCoding(Exception):
    """The body is compressed, or coded otherwise."""


class InvalidField(BaseModel):
    """One field that was refused."""

    pointer: str = Field(description="JSON pointer into the body, or the name of the parameter", examples=["/message"])
    detail: str = Field(description="what is wrong with it", examples=["Field required"])


class ProblemDetails(BaseModel):
    """An error answer (RFC 9457)."""

    type: str = Field(examples=[f"{TYPE_PREFIX}validation"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["1 field was refused"])
    instance: str = Field(description="the path that was called", examples=["/api/messages"])
    trace_id: str | None = Field(
        default=None,
        description="finds this request in the log; absent if the request was refused before its path was looked at",
        examples=["4bf92f3577b34da6a3ce929d0e0e4736"],
    )
    errors: list[InvalidField] | None = Field(default=None, description="each field that was refused")


UNAVAILABLE = Problem(503, "unavailable", "A part of the service does not answer; try again.", {"Retry-After": "1"})
UNEXPECTED = Problem(500, "unexpected", "Something went wrong here; the trace id tells the operators what.")

MALFORMED = Problem(
    400, "malformed-json", "The body is not JSON in UTF-8, or a name occurs twice in one of its objects; see RFC 8259."
)
TOO_LARGE = Problem(413, "content-too-large", "The body is larger than this path takes.")
NOT_JSON = Problem(
    415,
    "unsupported-media-type",
    "Send the body as JSON in UTF-8, with Content-Type: application/json.",
    {"Accept": "application/json"},
)
CODED = Problem(
    415,
    "unsupported-content-coding",
    "Send the body as it is: no Content-Encoding but identity is supported.",
    {"Accept-Encoding": "identity"},
)
NOT_FOUND = Problem(404, "not-found", "There is nothing at this path.")
METHOD_NOT_ALLOWED = Problem(
    405,
    "method-not-allowed",
    "This path does not take this method; the Allow header says which it takes.",
    {"Allow": "GET, HEAD"},
)
REFUSED = Problem(422, "validation", "1 field was refused; see errors.")

Errors = Mapping[type[Exception], Problem | Varying]
"""What each error type means to a client."""

SHARED_ERRORS: Errors = {
    DatabaseUnavailable: UNAVAILABLE,
    RedisUnavailable: UNAVAILABLE,
    UnsupportedMediaType: NOT_JSON,
    UnsupportedCoding: CODED,
    IdempotencyKeyInUse: Problem(
        409, "idempotency-key-in-use", "The first request with this key still runs.", {"Retry-After": "1"}
    ),
    IdempotencyKeyReused: Problem(422, "idempotency-key-reused", "This key was sent with another request."),
}


def respond(request: Request, problem: Problem, errors: Sequence[InvalidField] | None = None) -> JSONResponse:
    """Return the answer for `problem`."""
    body = document(problem, quote(request.scope["path"]), current_trace_id(), errors)
    answer = JSONResponse(body, problem.status, dict(problem.headers), media_type=MEDIA_TYPE)
    for cookie in problem.cookies:
        answer.headers.append("Set-Cookie", cookie)
    return answer


def document(
    problem: Problem, instance: str, trace_id: str | None, errors: Sequence[InvalidField] | None = None
) -> dict[str, Any]:
    """Return the problem document (RFC 9457) of `problem` at the path `instance`."""
    details = ProblemDetails(
        type=TYPE_PREFIX + problem.name,
        title=title(problem.status),
        status=problem.status,
        detail=mask(problem.detail),
        instance=instance,
        trace_id=trace_id,
        errors=list(errors) if errors else None,
    )
    return details.model_dump(exclude_none=True)


def title(status: int) -> str:
    """Return the phrase of RFC 9110 for a status; Python's own still has older ones for some."""
    phrases = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
    return phrases.get(status) or HTTPStatus(status).phrase


def install(app: FastAPI, errors: Errors) -> None:
    """Render HTTP errors, refused input and every error type in `errors` as problems."""
    warnings = RepeatedWarnings(logger)
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]  # narrower than Exception
    app.add_exception_handler(RequestValidationError, _refused_input)  # type: ignore[arg-type]  # as above
    for kind, problem in {**SHARED_ERRORS, **errors}.items():
        app.add_exception_handler(kind, _mapped(problem, warnings))


def raises(*errors: type[Exception]) -> Callable[[F], F]:
    """Note on a route, or on what routes depend on, which errors it may raise; the API document shows their meaning."""

    def note(function: F) -> F:
        function.__dict__["raises"] = errors
        return function

    return note


def _mapped(meaning: Problem | Varying, warnings: RepeatedWarnings) -> Any:
    async def handler(request: Request, error: Exception) -> JSONResponse:
        problem = meaning if isinstance(meaning, Problem) else meaning.make(error)
        if problem.status >= 500:  # the client is not told why; operators find the reason by the trace id
            kind, reason = _cause(error)
            warnings.warn(f"answered {problem.status} {problem.name}: {kind}", reason)
        detail = str(error) if problem.status < 500 and str(error) else problem.detail
        return respond(request, replace(problem, detail=detail))

    return handler


def _cause(error: Exception) -> tuple[str, str]:
    """Return the types of an error and of the one that caused it, and what both say."""
    errors = [error, error.__cause__] if error.__cause__ else [error]
    return " from ".join(type(each).__name__ for each in errors), "; ".join(map(str, errors))


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    if error.status_code == 400:  # FastAPI's own, of a body that it could not read
        return respond(request, MALFORMED)
    if error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request)))
        return respond(request, replace(METHOD_NOT_ALLOWED, headers={"Allow": allowed}))
    for problem in (NOT_FOUND, TOO_LARGE):
        if error.status_code == problem.status:
            return respond(request, problem)
    name = title(error.status_code).lower().replace(" ", "-").replace("'", "")
    return respond(request, Problem(error.status_code, name, str(error.detail), dict(error.headers or {})))


def _methods(request: Request) -> set[str]:
    """Return every method that the path takes; the router names only those of the first route that fits."""
    contexts = iter_route_contexts(request.app.routes)
    methods = {
        method
        for context in contexts
        if context.matches(request.scope)[0] is not Match.NONE
        for method in context.methods or ()
    }
    return methods | {"HEAD"} if "GET" in methods else methods


async def _refused_input(request: Request, error: RequestValidationError) -> JSONResponse:
    """Name each refused field; never repeat what was sent, which may be a password."""
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return respond(request, MALFORMED)
    fields = [InvalidField(pointer=_pointer(item["loc"]), detail=_sentence(item["msg"])) for item in found]
    count = "1 field was refused" if len(fields) == 1 else f"{len(fields)} fields were refused"
    return respond(request, replace(REFUSED, detail=f"{count}; see errors."), fields)


def _sentence(message: str) -> str:
    """Return what a validator said, without what pydantic puts before it."""
    own = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return own[:1].upper() + own[1:]


def _pointer(loc: Sequence[str | int]) -> str:
    """Return a JSON pointer (RFC 6901) for a body field, else the parameter's name."""
    place, *rest = [str(part) for part in loc]
    if place != "body":
        return ".".join(rest) or place
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in rest)
