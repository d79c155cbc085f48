"""What the connections of a server share, and that each of them ends."""

import asyncio
from typing import cast

import pytest
from starlette.types import Receive, Scope, Send

from support.bare import PARSERS, Recorder
from tidings.connections import Connections, Guarded, Parser, protocol
from tidings.http.framing import Framing
from tidings.http.settings import HttpSettings
from tidings.serving import server_config

LIMITS = HttpSettings()
LONGEST = max(LIMITS.header_seconds, LIMITS.body_seconds, LIMITS.keep_alive_seconds)
GET = b"GET / HTTP/1.1\r\nHost: tidings\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: tidings\r\nContent-Length: 2\r\n\r\nhi"
CHUNKS = b"POST / HTTP/1.1\r\nHost: tidings\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n"


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 8000), "peername": ("127.0.0.1", 8001)})
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def write_eof(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def answer_early(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer without reading the body."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


async def settle() -> None:
    """Let the application answer what has arrived."""
    for _ in range(10):
        await asyncio.sleep(0)


class Conversation:
    """A connection without a network."""

    def __init__(self, parser: Parser, early: bool = False) -> None:
        config = server_config(answer_early if early else Recorder(), LIMITS, finish_seconds=5, parser=parser)
        self.server = Connections(LIMITS, most=10)
        self.connection = cast(
            Guarded,
            protocol(parser)(config=config, server_state=self.server, app_state={}),  # type: ignore[call-arg]
        )
        self.transport = FakeTransport()
        self.connection.connection_made(self.transport)

    async def send(self, data: bytes) -> None:
        """Let bytes arrive, and the application answer."""
        if not self.transport.closed:
            self.connection.data_received(data)
            await settle()

    def ends(self) -> bool:
        """Return whether it is closed when its client sends nothing more."""
        now = asyncio.get_running_loop().time()
        for turn in range(1, 3):  # refused in the first one, it may be, and closed in the second one
            self.server.sweep(now + turn * (LONGEST + 1))
        return self.transport.closed


@pytest.fixture(autouse=True)
def _no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wait in the socket, which a fake transport does not have."""
    monkeypatch.setattr(Guarded, "has_input", lambda _: False)


@pytest.mark.parametrize(
    "sent",
    [b"\r\n\r\n", b"\r\n" + GET, GET + b"\r\n" + GET, GET + b"\r\n\r\n", POST + b"\r\n" + POST, CHUNKS + b"\r\n"],
    ids=["nothing else", "first", "between", "twice", "after a body", "after chunks"],
)
@pytest.mark.parametrize("early", [False, True], ids=["answered after the body", "answered early"])
@pytest.mark.parametrize("parser", PARSERS)
async def test_connection_with_line_breaks_ends_wherever_its_client_stops(
    parser: Parser, early: bool, sent: bytes
) -> None:
    for end in range(1, len(sent) + 1):
        for pieces in ([sent[:end]], [sent[at : at + 1] for at in range(end)]):
            conversation = Conversation(parser, early)
            for piece in pieces:
                await conversation.send(piece)
            assert conversation.ends(), pieces


@pytest.mark.parametrize("parser", PARSERS)
async def test_line_break_does_not_extend_the_time_of_a_kept_connection(parser: Parser) -> None:
    conversation = Conversation(parser)
    await conversation.send(GET)
    deadline = conversation.connection.deadline
    await conversation.send(b"\r")
    await conversation.send(b"\n")
    assert conversation.connection.deadline == deadline
    await conversation.send(b"\r\n")
    assert b"HTTP/1.1 400 " in conversation.transport.written


@pytest.mark.parametrize("parser", PARSERS)
async def test_slow_body_after_its_answer_ends_without_another_answer(parser: Parser) -> None:
    conversation = Conversation(parser, early=True)
    await conversation.send(GET + POST[:-1])
    assert conversation.ends()
    assert conversation.transport.written.count(b"HTTP/1.1 ") == 2


@pytest.mark.parametrize("before", [b"", GET], ids=["first request", "later request"])
@pytest.mark.parametrize("parser", PARSERS)
async def test_refusal_by_the_parser_is_answered_400_and_ends(
    monkeypatch: pytest.MonkeyPatch, parser: Parser, before: bytes
) -> None:
    conversation = Conversation(parser)
    await conversation.send(before)
    accept = Framing._accept
    monkeypatch.setattr(Framing, "_accept", lambda *of_request: b"rubbish " + accept(*of_request))
    conversation.transport.written = b""
    await conversation.send(GET)
    assert conversation.transport.written.startswith(b"HTTP/1.1 400 ")
    assert conversation.ends()


def test_closed_connections_are_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    connections = Connections(HttpSettings(), most=10)
    connections.closed.update({"malformed-request": 20, "request-timeout": 3})
    connections.sweep(1.0)
    connections.sweep(2.0)
    assert [record.getMessage() for record in caplog.records] == [
        "closed connections: 20 malformed-request, 3 request-timeout"
    ]
