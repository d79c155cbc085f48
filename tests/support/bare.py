"""A bare application behind the server that all services use, in the test's process or in one of its own."""

import asyncio
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import httpx
from opentelemetry.metrics import NoOpMeter
from starlette.types import ASGIApp, Receive, Scope, Send

from tidings.admission import Admission
from tidings.connections import Parser
from tidings.http.overload import AdmittingService
from tidings.http.settings import HttpSettings
from tidings.serving import Server, listen, server_config
from tidings.signals import end_on_signals
from tidings_local.servers.ports import free_port

PARSERS: list[Parser] = ["h11", "httptools"]


class Recorder:
    """Answers each request with its method and target once it has read the body, and records both and the body."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        query = scope["query_string"].decode()
        target = scope["path"] + ("?" + query if query else "")
        self.seen.append((scope["method"], target, body))
        self.headers.append(scope["headers"])
        await _answer(send, f"{scope['method']} {target}".encode())


@asynccontextmanager
async def serving(application: ASGIApp, parser: Parser, limits: HttpSettings | None = None) -> AsyncIterator[str]:
    """Serve the application by the configuration that all services use, and return its origin."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # a connection waits in the backlog until the server takes it
        server = Server(server_config(application, limits, finish_seconds=5, parser=parser))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


class Replica:
    """`bare` behind a server in a thread of its own, which can be restarted on its port.

    Args:
        parser: the HTTP parser.
        limits: of the server; how long it drains is one of them.
    """

    def __init__(self, parser: Parser, limits: HttpSettings) -> None:
        self.port = free_port()
        self._parser = parser
        self._limits = limits
        self.start()

    def start(self) -> None:
        """Start it; it answers when this returns."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=2048)
        self._server = Server(server_config(bare, self._limits, finish_seconds=5, parser=self._parser))
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name=f"replica at {self.port}")
        self._thread.start()
        # A server that is stopped before it has started never takes the connections that wait at its listener.
        httpx.get(f"http://127.0.0.1:{self.port}/", timeout=30).raise_for_status()

    def stop(self) -> None:
        """End it as SIGTERM does."""
        self._server.drains = self._server.should_exit = True
        self._thread.join()


async def _answer(send: Send, body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Read every request and answer it with its path, `/slow…` later; `/health/ready` with 503 while draining."""
    if scope["type"] == "lifespan":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"].startswith("/slow"):
        await asyncio.sleep(0.02)
    draining = scope["path"] == "/health/ready" and scope["state"].get("draining")
    await _answer(send, scope["path"].encode(), 503 if draining else 200)


def admitting_bare(limits: HttpSettings) -> ASGIApp:
    """Return `bare` behind the admission that every service has."""
    refused = NoOpMeter("bare").create_counter("refused")
    service = AdmittingService(admission=Admission(limits.max_requests, refused), openapi_url=None)
    service.mount("/", bare)
    return service


def main() -> None:
    """Serve `admitting_bare` until a signal: `python -m support.bare PORT PARSER DRAIN_SECONDS`."""
    _, port, parser, drain_seconds = sys.argv
    limits = HttpSettings(port=int(port), drain_seconds=float(drain_seconds))
    config = server_config(admitting_bare(limits), limits, finish_seconds=5, parser=cast(Parser, parser))
    end_on_signals()
    with listen(limits.host, limits.port, "HOST", "PORT") as listener:
        Server(config).run([listener])


if __name__ == "__main__":
    main()
