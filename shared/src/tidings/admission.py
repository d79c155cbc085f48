"""Admission: a service works on a bounded number of requests at once, and refuses early what it cannot answer in time.

Without the bound every request would wait for one of a few database connections, and under a great load nearly all of
them would wait in vain. A request that finds all places taken waits in a line for a moment, before anything of it is
looked at. One that gets no place in time is refused.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from tidings.repeated_warnings import RepeatedWarnings

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
"""How long a request may wait for its turn; a client that is refused sooner would only ask again sooner."""


class Count(Protocol):
    """Counts, as a counter of OpenTelemetry does."""

    def add(self, amount: int) -> Any:
        """Count `amount` more."""


class Admission:
    """The places for requests that are worked on, and the line of those that wait for one.

    Args:
        places: how many requests are worked on at once.
        refused: counts the requests that were refused.
        wait_seconds: how long a request waits at most.
    """

    def __init__(self, places: int, refused: Count, wait_seconds: float = WAIT_SECONDS) -> None:
        self.places = places
        self.taken = 0
        self._line: deque[asyncio.Future[None]] = deque()
        self._refused = refused
        self._wait_seconds = wait_seconds
        self._warnings = RepeatedWarnings(logger)

    async def enter(self) -> bool:
        """Take a place, after waiting for it if necessary; return `False` when there was none in time."""
        if self.taken < self.places:
            self.taken += 1
            return True
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await turn  # `leave` gives this request its place, and goes on counting it in `taken`
        except BaseException as error:
            if not turn.cancelled():
                self.leave()  # the place came in the same moment
            if not isinstance(error, TimeoutError):
                raise
            self._note_refusal()
            return False
        return True

    def leave(self) -> None:
        """Give the place to the request that has waited longest, if one waits and there are not too many at work."""
        # Those that were refused, or whose clients went away, are still in the line, cancelled.
        while self._line and self.taken <= self.places:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.taken -= 1

    def enter_again(self) -> None:
        """Take a place without waiting, for a request that was admitted before; there may be one too many then."""
        self.taken += 1

    def _note_refusal(self) -> None:
        self._refused.add(1)
        self._warnings.warn(
            "too busy",
            f"a request was refused after waiting {self._wait_seconds:g} s, because {self.places} are worked on at a"
            " time (TIDINGS_HTTP_MAX_REQUESTS)",
        )


_admission: ContextVar[Admission | None] = ContextVar("admission", default=None)


@asynccontextmanager
async def admitted(admission: Admission) -> AsyncIterator[bool]:
    """Take a place for as long as the block runs; the block learns whether there was one."""
    if not await admission.enter():
        yield False
        return
    mark = _admission.set(admission)
    try:
        yield True
    finally:
        _admission.reset(mark)
        admission.leave()


@asynccontextmanager
async def place_given_up() -> AsyncIterator[None]:
    """Let another request have this one's place while it waits for something that is bounded by itself."""
    admission = _admission.get()
    if admission is None:  # no request, or one that is always admitted
        yield
        return
    admission.leave()
    try:
        yield
    finally:
        admission.enter_again()
