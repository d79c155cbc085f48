"""Refusals: the problems that the server answers itself, before an application gets the request.

They have no trace id. `framing` and `connections` answer with them and close the connection; `overload` keeps it.
"""

import json
from dataclasses import replace

from tidings.events import uuid7
from tidings.http.middleware import SECURITY_HEADERS
from tidings.http.problems import MEDIA_TYPE, Problem, document

MALFORMED_REQUEST = Problem(400, "malformed-request", "The request is not valid HTTP.")
REQUEST_TIMEOUT = Problem(408, "request-timeout", "The request did not arrive in time.")
HEADER_FIELDS_TOO_LARGE = Problem(
    431, "header-fields-too-large", "The request line and header fields are too long, or there are too many fields."
)
METHOD_NOT_IMPLEMENTED = Problem(501, "method-not-implemented", "This server does not know this method.")
TOO_MANY_CONNECTIONS = Problem(
    503, "too-many-connections", "Too many connections are open; try again.", {"Retry-After": "1"}
)
OVERLOADED = Problem(
    503,
    "overloaded",
    "The service is too busy to answer in time and has done nothing; try again.",
    {"Retry-After": "1"},
)
HTTP_VERSION_NOT_SUPPORTED = Problem(505, "http-version-not-supported", "Use HTTP/1.1.")

REFUSALS_OF_ANY_CALL = (
    MALFORMED_REQUEST,
    REQUEST_TIMEOUT,
    HEADER_FIELDS_TOO_LARGE,
    TOO_MANY_CONNECTIONS,
    OVERLOADED,
    HTTP_VERSION_NOT_SUPPORTED,
)
"""What any operation may be answered. `METHOD_NOT_IMPLEMENTED` is not: the method of an operation is known."""


def answer(problem: Problem, path: str) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body that answer a call of `path`, which is percent-encoded, with a problem."""
    body = json.dumps(document(problem, path, None)).encode()
    headers = {
        **SECURITY_HEADERS,
        **problem.headers,
        "X-Request-Id": str(uuid7()),
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
    }
    return headers, body


class Refused(Exception):
    """What a client sent is not accepted; its connection has to be closed, because the next request cannot be found."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def malformed(detail: str) -> Refused:
    """Return the refusal of a request that is not valid HTTP; `detail` says why."""
    return Refused(replace(MALFORMED_REQUEST, detail=detail))


def too_large(detail: str) -> Refused:
    """Return the refusal of too many or too long header fields; `detail` says what the limit is."""
    return Refused(replace(HEADER_FIELDS_TOO_LARGE, detail=detail))
