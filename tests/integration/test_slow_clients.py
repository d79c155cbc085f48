"""Silent and slow clients: each has its time limit, and none keeps others from being answered."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack

import pytest
from starlette.types import Receive, Scope, Send

from support.bare import PARSERS, Recorder, serving
from support.connection import Connection, connection_to, request_bytes
from tidings.connections import Parser
from tidings.http.settings import HttpSettings
from tidings.serving import Server, server_config

SHORT = HttpSettings(header_seconds=0.2, body_seconds=0.2)
HEAD = b"POST /slow HTTP/1.1\r\nHost: tidings\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize("parser", PARSERS)
async def test_silent_connection_is_closed_without_an_answer(parser: Parser) -> None:
    async with serving(Recorder(), parser, SHORT) as url, connection_to(url) as connection:
        assert await connection.rest() == b""


@pytest.mark.parametrize("sent", [b"G", HEAD[:-1], HEAD[:20]], ids=["one byte", "all but one", "part"])
@pytest.mark.parametrize("parser", PARSERS)
async def test_incomplete_head_is_answered_408(parser: Parser, sent: bytes) -> None:
    application = Recorder()
    async with serving(application, parser, SHORT) as url, connection_to(url) as connection:
        connection.writer.write(sent)
        answer = await connection.rest()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in answer
    assert application.seen == []


@pytest.mark.parametrize("parser", PARSERS)
async def test_incomplete_head_on_a_kept_connection_is_answered_408(parser: Parser) -> None:
    async with serving(Recorder(), parser, SHORT) as url, connection_to(url) as connection:
        assert (await connection.ask("GET", "/", {})).status == 200
        connection.writer.write(HEAD[:-1])
        assert (await connection.rest()).startswith(b"HTTP/1.1 408 ")


KEPT = HttpSettings(header_seconds=600, body_seconds=600, keep_alive_seconds=1)
"""Limits of which only that for kept connections ends during a test."""


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\r"], ids=["nothing", "line break", "half a line break"])
@pytest.mark.parametrize("together", [False, True], ids=["later", "together"])
@pytest.mark.parametrize("parser", PARSERS)
async def test_kept_connection_without_a_request_is_closed(parser: Parser, sent: bytes, together: bool) -> None:
    async with serving(Recorder(), parser, KEPT) as url, connection_to(url) as connection:
        connection.writer.write(request_bytes("GET", "/", {}) + (sent if together else b""))
        assert (await connection.answer()).status == 200
        connection.writer.write(b"" if together else sent)
        assert await connection.rest() == b""


@pytest.mark.parametrize("parser", PARSERS)
async def test_connection_whose_body_ended_after_the_answer_is_closed(parser: Parser) -> None:
    async with serving(_answer_early, parser, KEPT) as url, connection_to(url) as connection:
        connection.writer.write(HEAD)
        assert (await connection.answer()).status == 200
        connection.writer.write(b"hello")
        assert await connection.rest() == b""


@pytest.mark.parametrize("parser", PARSERS)
async def test_line_break_during_a_request_does_not_keep_the_connection(parser: Parser) -> None:
    application = Held()
    async with serving(application, parser, KEPT) as url, connection_to(url) as connection:
        connection.writer.write(request_bytes("GET", "/held", {}))
        await application.until_waiting(1)
        connection.writer.write(b"\r\n")
        await asyncio.sleep(2.5)  # longer than the limit, which does not run yet
        application.release.set()
        assert (await connection.answer()).status == 200
        assert await connection.rest() == b""


@pytest.mark.parametrize("parser", PARSERS)
async def test_request_after_a_line_break_has_its_own_time(parser: Parser) -> None:
    limits = HttpSettings(header_seconds=600, keep_alive_seconds=2)
    async with serving(Recorder(), parser, limits) as url, connection_to(url) as connection:
        assert (await connection.ask("GET", "/", {})).status == 200
        connection.writer.write(b"\r\nG")
        await asyncio.sleep(4)
        connection.writer.write(request_bytes("GET", "/", {})[1:])
        assert (await connection.answer()).status == 200


@pytest.mark.parametrize("sent", [b"\r\n", b"\r", b"\r\n\r"], ids=["line break", "half a line break", "one and a half"])
@pytest.mark.parametrize("parser", PARSERS)
async def test_new_connection_with_a_line_break_only_is_closed(parser: Parser, sent: bytes) -> None:
    async with serving(Recorder(), parser, SHORT) as url, connection_to(url) as connection:
        connection.writer.write(sent)
        assert await connection.rest() == b""


@pytest.mark.parametrize("parser", PARSERS)
async def test_incomplete_head_after_a_line_break_is_answered_408(parser: Parser) -> None:
    async with serving(Recorder(), parser, SHORT) as url, connection_to(url) as connection:
        assert (await connection.ask("GET", "/", {})).status == 200
        connection.writer.write(b"\r\nGET /")
        assert (await connection.rest()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "sent",
    [HEAD, HEAD + b"hell", HEAD.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n"],
    ids=["no body", "all but one byte", "chunks without end"],
)
@pytest.mark.parametrize("parser", PARSERS)
async def test_incomplete_body_is_answered_408(parser: Parser, sent: bytes) -> None:
    application = Recorder()
    async with serving(application, parser, SHORT) as url, connection_to(url) as connection:
        connection.writer.write(sent)
        head, body = (await connection.rest()).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in head
    problem = json.loads(body)
    assert (problem["type"], problem["instance"]) == ("urn:tidings:problem:request-timeout", "/slow")
    assert application.seen == []


@pytest.mark.parametrize("parser", PARSERS)
async def test_slow_client_within_the_limits_is_served(parser: Parser) -> None:
    application = Recorder()
    async with serving(application, parser) as url, connection_to(url) as connection:
        for _ in range(2):
            for byte in request_bytes("POST", "/slow", {}, b"hello"):
                connection.writer.write(bytes([byte]))
                await connection.writer.drain()
                await asyncio.sleep(0.01)
            assert (await connection.answer()).status == 200
    assert application.seen == [("POST", "/slow", b"hello")] * 2


async def _answer_early(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without reading the body."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


class Endless:
    """Answers with bytes until its client has gone."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        await receive()
        gone = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            await asyncio.sleep(0)
        self.ended.set()


@pytest.mark.parametrize("parser", PARSERS)
async def test_client_that_does_not_read_is_cut_off(parser: Parser) -> None:
    application = Endless()
    async with serving(application, parser, HttpSettings(write_seconds=0.5)) as url, connection_to(url) as connection:
        connection.writer.write(request_bytes("GET", "/", {}))
        async with asyncio.timeout(60):
            await application.ended.wait()


@pytest.mark.parametrize("parser", PARSERS)
async def test_client_that_reads_slowly_is_not_cut_off(parser: Parser) -> None:
    application = Endless()
    async with serving(application, parser, HttpSettings(write_seconds=2)) as url, connection_to(url) as connection:
        connection.writer.write(request_bytes("GET", "/", {}))
        for _ in range(100):  # more than two times the limit
            assert await connection.part(65_536)
            await asyncio.sleep(0.05)
        assert not application.ended.is_set()


class Held:
    """Keeps each request of `/held` until it is let go."""

    def __init__(self) -> None:
        self.waiting = 0
        self.release = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        if scope["path"] == "/held":
            self.waiting += 1
            await self.release.wait()
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def until_waiting(self, count: int) -> None:
        """Wait until so many requests are held."""
        async with asyncio.timeout(15):
            while self.waiting < count:  # noqa: ASYNC110  # a number, not an event
                await asyncio.sleep(0.01)


FEW = HttpSettings(max_connections=20)


async def _silent(stack: AsyncExitStack, url: str, count: int) -> list[Connection]:
    return [await stack.enter_async_context(connection_to(url)) for _ in range(count)]


@pytest.mark.parametrize("parser", PARSERS)
async def test_above_the_bound_the_oldest_idle_connection_is_closed(parser: Parser) -> None:
    async with serving(Recorder(), parser, FEW) as url, AsyncExitStack() as stack:
        (kept,) = await _silent(stack, url, 1)
        silent = await _silent(stack, url, 19)
        assert (await kept.ask("GET", "/", {})).status == 200
        new = await _silent(stack, url, 5)
        for connection in silent[:5]:
            assert await connection.rest() == b""
        for connection in [kept, *silent[5:], *new]:
            assert (await connection.ask("GET", "/", {})).status == 200


@pytest.mark.parametrize("parser", PARSERS)
async def test_busy_connections_are_never_closed_to_make_room(parser: Parser) -> None:
    application = Held()
    async with serving(application, parser, FEW) as url, AsyncExitStack() as stack:
        busy = await _silent(stack, url, 20)
        for connection in busy[:19]:
            connection.writer.write(request_bytes("GET", "/held", {}))
        await application.until_waiting(19)
        await _silent(stack, url, 200)
        other = (await _silent(stack, url, 1))[0]
        assert (await other.ask("GET", "/", {})).status == 200
        application.release.set()
        assert [(await connection.answer()).status for connection in busy[:19]] == [200] * 19


@pytest.mark.parametrize("parser", PARSERS)
async def test_new_connection_is_refused_while_all_are_busy(parser: Parser) -> None:
    application = Held()
    async with serving(application, parser, FEW) as url, AsyncExitStack() as stack:
        busy = await _silent(stack, url, 20)
        for connection in busy:
            connection.writer.write(request_bytes("GET", "/held", {}))
        await application.until_waiting(20)
        answer = await (await _silent(stack, url, 1))[0].answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        application.release.set()
        assert [(await connection.answer()).status for connection in busy] == [200] * 20


@pytest.mark.parametrize("parser", PARSERS)
async def test_slow_bodies_make_room_for_others(parser: Parser) -> None:
    application = Recorder()
    async with serving(application, parser, FEW) as url, AsyncExitStack() as stack:
        for connection in await _silent(stack, url, 60):
            connection.writer.write(HEAD)
            await connection.writer.drain()
        other = (await _silent(stack, url, 1))[0]
        assert (await other.ask("GET", "/other", {})).status == 200
    assert application.seen == [("GET", "/other", b"")]


@pytest.mark.parametrize("parser", PARSERS)
async def test_management_port_answers_while_all_connections_are_taken(parser: Parser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as public, socket.create_server(("127.0.0.1", 0)) as management:
        port = management.getsockname()[1]
        limits = HttpSettings(max_connections=2, management_port=port)
        application = Held()
        server = Server(server_config(application, limits, finish_seconds=5, parser=parser))
        task = asyncio.create_task(server.serve(sockets=[public, management]))
        url = f"http://127.0.0.1:{public.getsockname()[1]}"
        try:
            async with AsyncExitStack() as stack:
                for connection in await _silent(stack, url, 2):
                    connection.writer.write(request_bytes("GET", "/held", {}))
                await application.until_waiting(2)
                (probe,) = await _silent(stack, f"http://127.0.0.1:{port}", 1)
                (client,) = await _silent(stack, url, 1)
                assert (await probe.ask("GET", "/health/live", {})).status == 200
                assert (await client.answer()).status == 503
                application.release.set()
        finally:
            server.should_exit = True
            await task
