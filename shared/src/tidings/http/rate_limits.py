"""Rate limits: 429 with `Retry-After` and the fields of draft-ietf-httpapi-ratelimit-headers-11."""

from collections.abc import Sequence
from dataclasses import dataclass

from tidings.http.problems import Problem


@dataclass(frozen=True)
class Policy:
    """How much is allowed: a quota, and the seconds in which all of it comes back."""

    name: str
    quota: int
    window: int


def too_many(name: str, detail: str, policies: Sequence[Policy], exceeded: str, retry_after: int) -> Problem:
    """Return the problem of a caller who must wait.

    Args:
        name: of the problem's type.
        detail: for people.
        policies: all that hold for the call.
        exceeded: the name of the one that is used up.
        retry_after: seconds until it allows something again.
    """
    headers = {
        "Retry-After": str(retry_after),
        "RateLimit-Policy": ", ".join(f'"{it.name}";q={it.quota};w={it.window}' for it in policies),
        "RateLimit": f'"{exceeded}";r=0;t={retry_after}',
    }
    return Problem(429, name, detail, headers)
