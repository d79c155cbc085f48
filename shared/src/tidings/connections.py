"""Connections: what a client's connection may do, and for how long, whichever HTTP parser reads it.

`Guarded` stands between a connection and uvicorn's parser. It hands on what `Framing` accepts, one request at a time,
refuses everything else, and knows for whom the connection waits. Once a second `Connections.sweep` closes those that
have waited too long for their client.
"""

import asyncio
import logging
import math
import select
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote_from_bytes

from uvicorn.protocols.http.flow_control import CLOSE_HEADER, HIGH_WATER_LIMIT
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from tidings.http.framing import Framing
from tidings.http.problems import Problem
from tidings.http.refusals import MALFORMED_REQUEST, REQUEST_TIMEOUT, TOO_MANY_CONNECTIONS, Refused, answer
from tidings.http.settings import HttpSettings

if TYPE_CHECKING:
    _Protocol = H11Protocol
else:
    _Protocol = asyncio.Protocol

logger = logging.getLogger(__name__)

Parser = Literal["h11", "httptools"]

LINGER_SECONDS = 2.0
"""How long a client has to read the refusal of its request before its connection is closed."""
LAST_REQUEST_SECONDS = 0.5
"""How long a new connection may still send its request after the server has stopped to listen."""


class Connections(ServerState):
    """The open connections of one server, and what they share.

    Args:
        limits: how long and how many.
        most: how many connections may be open.
    """

    connections: set["Guarded"]  # type: ignore[assignment]  # no other class of connection is configured

    def __init__(self, limits: HttpSettings, most: int) -> None:
        super().__init__()
        self.limits = limits
        self.most = most
        self.idle: dict[Guarded, None] = {}
        """Those on which no request is under way; the one that is so for the longest time comes first."""
        self.of_operators = 0
        """How many are at the management port: they are not counted, nor closed to make room for others."""
        self.closed: Counter[str] = Counter()
        """Why connections were closed since the last log line."""

    def sweep(self, now: float) -> None:
        """Close connections that have waited too long for their client, and log how many were closed and why."""
        for connection in list(self.connections):
            connection.close_if_overdue(now)
        if self.closed:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.closed.items()))
            self.closed.clear()
            logger.warning("closed connections: %s", reasons)

    def make_room(self) -> bool:
        """Close the connection that matters least; return whether there was one."""
        for connection in self.idle:
            if not connection.of_operators and (connection.refused or not connection.has_input()):
                if not connection.refused:
                    self.closed["idle-to-make-room"] += 1
                connection.close_idle()
                return True
        waiting = (it for it in self.connections if it.waits_for_body and not it.of_operators)
        late = min(waiting, key=lambda connection: connection.deadline, default=None)
        if late:
            late.refuse(TOO_MANY_CONNECTIONS)
        return late is not None

    def say_close(self) -> None:
        """Have the answers that have not begun say that their connections close."""
        self.default_headers = [*self.default_headers, CLOSE_HEADER]
        for connection in self.connections:
            if cycle := connection.cycle:
                cycle.default_headers = [*cycle.default_headers, CLOSE_HEADER]


class Guarded(_Protocol):
    """One connection of a client; a base class of either of uvicorn's protocols."""

    server_state: Connections

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = self.server_state.limits
        self._framing = Framing()
        self._begun = False
        """Whether the parser has got something of the current request."""
        self.of_operators = False
        """Whether it came to the management port."""
        self.refused = False
        """Whether the client was refused, and nothing more is read from it."""
        self.waits_for_body = False
        """Whether a request has begun whose body is not complete."""
        self.deadline = math.inf
        """Until when the client has to send something; infinite only while the service works on a request."""
        self._between_requests = False
        """Whether the deadline is that of a kept connection, whose client has sent nothing of its next request."""
        self._unsent = 0
        self._read_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin; when there are too many connections, another one is closed, or this one refused."""
        super().connection_made(transport)
        state = self.server_state
        self._read_at = now = self.loop.time()
        self.deadline = now + self._limits.header_seconds
        self.of_operators = transport.get_extra_info("sockname")[1] == self._limits.management_port
        state.of_operators += self.of_operators
        if len(self.connections) - state.of_operators > state.most and not self.of_operators and not state.make_room():
            self.refuse(TOO_MANY_CONNECTIONS)
        else:
            state.idle[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.server_state.idle.pop(self, None)
        self.server_state.of_operators -= self.of_operators
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent; nothing more from a client that was refused."""
        if self.refused:
            return
        self._framing.feed(data)
        self._advance()

    def _advance(self) -> None:
        """Hand on what is complete of the current request, and note for what the connection waits then."""
        framing = self._framing
        try:
            accepted = framing.take()
        except Refused as refused:
            self.refuse(refused.problem)
            return
        if accepted:
            self._between_requests = False
            super().data_received(accepted)
            if self.refused:  # by the parser
                return
            self._begun = True
            self.server_state.idle.pop(self, None)
        if framing.complete and self.cycle and self.cycle.response_complete:
            self._next_request()  # the answer came before the end of the body
        elif framing.complete:
            self._wait_for_answer()
        elif framing.in_head:
            if framing.begun and self._between_requests:
                self._between_requests = False
                self.deadline = self.loop.time() + self._limits.header_seconds
        elif not self.waits_for_body:
            self.waits_for_body = True
            self.deadline = self.loop.time() + self._limits.body_seconds

    def _wait_for_answer(self) -> None:
        self.waits_for_body = False
        self.deadline = math.inf
        if self._framing.held > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def _next_request(self) -> None:
        self.waits_for_body = False
        self._between_requests = True
        self.deadline = self.loop.time() + self._limits.keep_alive_seconds
        self.server_state.idle[self] = None
        self._begun = False
        self._framing.next_request()
        if self._framing.held:
            self._advance()

    def on_response_complete(self) -> None:
        """Go on to the client's next request, which may be here already."""
        super().on_response_complete()
        # uvicorn's timer is cancelled by any bytes, also by those that `Framing` skips. `deadline` takes its place.
        self._unset_keepalive_if_required()
        if self._framing.complete and not self.transport.is_closing():
            self._next_request()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser does not take although `Framing` does."""
        self.refuse(MALFORMED_REQUEST)

    def refuse(self, problem: Problem) -> None:
        """Answer with a problem if no answer has begun, read nothing more, and close when the client has read it."""
        if self.transport.is_closing():
            return
        self.server_state.closed[problem.name] += 1
        self.refused, self.waits_for_body = True, False
        cycle = self.cycle
        if cycle and not cycle.response_complete:
            cycle.disconnected = True  # the application is told that the client has gone
            cycle.message_event.set()
        if self._begun and cycle.response_started:
            self.transport.close()
            return
        self.transport.write(_answer(problem, self._framing, self.server_state.default_headers))
        # Closing at once would reset the connection if the client still sends, and it might never see the answer.
        self.transport.write_eof()
        self.flow.resume_reading()
        self.deadline = self.loop.time() + LINGER_SECONDS
        self.server_state.idle[self] = None

    def close_if_overdue(self, now: float) -> None:
        """Close the connection if its client did not send or read in time."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._read_at = now
        self._unsent = unsent
        if now - self._read_at > self._limits.write_seconds:
            self.server_state.closed["answer-not-read"] += 1
            self.transport.abort()
        elif now > self.deadline:
            self._give_up()

    def resume_writing(self) -> None:
        """Note that the client reads."""
        self._read_at = self.loop.time()
        super().resume_writing()

    def _give_up(self) -> None:
        if not self.refused and self._framing.begun:
            self.refuse(REQUEST_TIMEOUT)
        elif self.refused or not self.has_input():
            self.close_idle()

    def close_idle(self) -> None:
        """Close the connection, on which no request is under way."""
        self.server_state.idle.pop(self, None)
        if self.refused:
            self.transport.abort()  # the client had its time to read the answer
        else:
            self.transport.close()

    def has_input(self) -> bool:
        """Return whether bytes have arrived that were not read yet; closing then would lose a request."""
        if self.transport.is_closing():
            return False
        arrived = select.poll()
        arrived.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(arrived.poll(0))

    def shutdown(self) -> None:
        """Close the connection once no request is under way; called when the server has stopped to listen."""
        if self.refused:
            self.transport.abort()
        elif self in self.server_state.idle and (not self.cycle or self._framing.held or self.has_input()):
            # A client that was accepted may have sent its request already.
            self.loop.call_later(LAST_REQUEST_SECONDS, self._end_if_idle)
        else:
            super().shutdown()

    def _end_if_idle(self) -> None:
        if self in self.server_state.idle:
            self.transport.close()


def protocol(parser: Parser) -> type[asyncio.Protocol]:
    """Return the class of guarded connections that are read by `parser`."""
    if parser == "h11":
        return type("GuardedH11", (Guarded, H11Protocol), {})
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # needs httptools, which services do not

    return type("GuardedHttpTools", (Guarded, HttpToolsProtocol), {})


def _answer(problem: Problem, framing: Framing, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return a whole answer with a problem, for a request that no application gets."""
    instance = quote_from_bytes(framing.path.partition(b"?")[0], safe="/%:@!$&'()*+,;=~")
    headers, body = answer(problem, instance)
    headers |= {name.decode("latin-1"): value.decode("latin-1") for name, value in default_headers}
    headers.pop(CLOSE_HEADER[0].decode(), None)
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    head = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n{''.join(lines)}Connection: close\r\n\r\n"
    return head.encode("latin-1") + (b"" if framing.method == b"HEAD" else body)
