"""Documented problems: how the API document shows answers that are problems, and which are the same everywhere.

Problems that belong to all operations, or to none, are in `components/responses`. For readers of the docs page, the
document's description lists those that belong to none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tidings.http.docs import MALFORMED_RANGE, RANGE_NOT_SATISFIABLE
from tidings.http.problems import (
    MEDIA_TYPE,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    REFUSED,
    TYPE_PREFIX,
    InvalidField,
    Problem,
    document,
    title,
)
from tidings.http.refusals import METHOD_NOT_IMPLEMENTED, REFUSALS_OF_ANY_CALL

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PROBLEMS_OF_NO_OPERATION = (
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    METHOD_NOT_IMPLEMENTED,
    MALFORMED_RANGE,
    RANGE_NOT_SATISFIABLE,
)
DESCRIPTION = f"""\
Every error is answered with a problem document (`{MEDIA_TYPE}`, RFC 9457). Some requests are refused before their path
is looked at: each operation lists these refusals. They have no `trace_id`, and all but `overloaded` close the
connection.

These problems belong to no operation:

| status | type | detail |
|---|---|---|
"""

HEADERS = {
    "Accept": "the media type that the body must have",
    "Accept-Encoding": "the content coding that the body may have",
    "Allow": "the methods that the path takes",
    "Content-Range": "the length of the whole content",
    "Retry-After": "seconds after which to try again",
    "RateLimit": "the quota that is used up, and the seconds until it allows something again",
    "RateLimit-Policy": "every quota that holds for this call, and the seconds in which all of it comes back",
    "Set-Cookie": "has the client forget a cookie that is no longer good for anything",
    "WWW-Authenticate": "how to say who is calling",
}
"""What the headers of problems mean."""

Answer = dict[str, Any]


def description() -> str:
    """Return the document's description, in Markdown."""
    lines = (f"| {it.status} | `{TYPE_PREFIX}{it.name}` | {it.detail} |\n" for it in PROBLEMS_OF_NO_OPERATION)
    return DESCRIPTION + "".join(lines)


def shared_answers() -> dict[str, Answer]:
    """Return the answers for `components/responses`, by name."""
    shared = (*REFUSALS_OF_ANY_CALL, *PROBLEMS_OF_NO_OPERATION)
    return {_component(problem): answer_of([problem], "/") for problem in shared}


def answer_or_reference(problems: Sequence[Problem], instance: str, errors: Sequence[InvalidField] | None) -> Answer:
    """Return the answer of one status of an operation; a reference if it is the same for all operations."""
    if len(problems) == 1 and problems[0] in REFUSALS_OF_ANY_CALL:
        return {"$ref": f"#/components/responses/{_component(problems[0])}"}
    return answer_of(problems, instance, errors)


def answer_of(problems: Sequence[Problem], instance: str, errors: Sequence[InvalidField] | None = None) -> Answer:
    """Return the answer of one status, with the types that it may be, an example of each, and their headers.

    Args:
        problems: the problems of this status.
        instance: the path that was called.
        errors: the refused fields, for the example of a validation problem.
    """
    types = ", ".join(f"`{TYPE_PREFIX}{problem.name}`" for problem in problems)
    return {
        "description": f"{title(problems[0].status)}: {types}",
        "headers": {name: _header(name, value) for problem in problems for name, value in _headers(problem)},
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/ProblemDetails"},
                "examples": {problem.name: {"value": _example(problem, instance, errors)} for problem in problems},
            }
        },
    }


def _component(problem: Problem) -> str:
    return problem.name.title().replace("-", "")


def _example(problem: Problem, instance: str, errors: Sequence[InvalidField] | None) -> Mapping[str, Any]:
    untraced = problem == METHOD_NOT_IMPLEMENTED or problem in REFUSALS_OF_ANY_CALL
    return document(problem, instance, None if untraced else TRACE_ID, errors if problem == REFUSED else None)


def _headers(problem: Problem) -> list[tuple[str, str]]:
    return [*problem.headers.items(), *(("Set-Cookie", cookie) for cookie in problem.cookies[:1])]


def _header(name: str, value: str) -> Mapping[str, Any]:
    return {"description": HEADERS.get(name, name), "schema": {"type": "string"}, "example": value}
