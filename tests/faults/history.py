"""The history of a run: what clients asked for, and what they were told."""

import enum
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

IN_USE = "urn:tidings:problem:idempotency-key-in-use"
"""The answer to a call that is made again while the first is at work: it may yet take effect."""


class Outcome(enum.Enum):
    """What a client knows about the effect of its call."""

    OK = "ok"
    """A 2xx: it took effect, for good."""
    FAIL = "fail"
    """A 4xx: this attempt has no effect, and never will; an earlier attempt of the same may have."""
    UNKNOWN = "unknown"
    """No answer, a 5xx, or its first attempt is at work: it may have taken effect, once."""


@dataclass
class Operation:
    """One call."""

    kind: str
    """`post`, `register`, `login`, `refresh`, `logout`, or `refusal`: of a token whose session has ended."""
    subject: str
    """What tells its effect from all others: the text of a message, the name of a user, the id of a session."""
    invoked: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    outcome: Outcome = Outcome.UNKNOWN
    status: int | None = None
    made: str | None = None
    """The id of the message, user or session that it made, as the answer says."""
    allowed: bool = True
    """Whether a service may do it: false for what has no token, or a text or password that no rule allows."""


class History:
    """All operations of a run, in the order of their ends; any thread may add to it."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._lock = threading.Lock()

    @contextmanager
    def record(self, kind: str, subject: str, allowed: bool = True) -> Iterator[Operation]:
        """Record the call that the block makes; without an answer its outcome stays unknown."""
        operation = Operation(kind, subject, allowed=allowed)
        try:
            yield operation
        except httpx.HTTPError:
            pass
        finally:
            operation.ended = time.monotonic()
            with self._lock:
                self.operations.append(operation)

    def since(self, moment: float) -> list[Operation]:
        """Return the operations that ended after `moment`."""
        with self._lock:
            return [operation for operation in self.operations if operation.ended > moment]


def answered(operation: Operation, answer: httpx.Response) -> None:
    """Note what the service said."""
    operation.status = answer.status_code
    if answer.is_success:
        operation.outcome = Outcome.OK
    elif answer.is_client_error and IN_USE not in answer.text:
        operation.outcome = Outcome.FAIL
