"""TCP proxies that can be told to misbehave: one between the services and each server."""

import asyncio
import enum
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tidings_local.servers.ports import LOOPBACK, free_port

LATENCY_SECONDS = 0.2
CHUNK = 65536
RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Mode(enum.Enum):
    """How a proxy treats its connections, those that are open too."""

    FORWARD = "forward"
    LATENCY = "latency"
    """What clients send arrives later, in order."""
    RESET = "reset"
    """All connections are reset, and each new one at once."""
    BLACK_HOLE = "black hole"
    """Connections are accepted and nothing passes, not even their end.

    One that lost bytes stays dead after the heal, as behind a firewall that forgot it: who waits on it without a
    deadline waits for ever.
    """


class Proxy:
    """Carries the connections of one port to another.

    Args:
        upstream: the port of the server.
        port: where clients connect.
        loop: runs the proxy, in another thread than the caller's.
    """

    def __init__(self, upstream: int, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.upstream = upstream
        self.port = port
        self.mode = Mode.FORWARD
        self.passable = asyncio.Event()
        self.passable.set()
        self._loop = loop
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server = self._wait_for(asyncio.start_server(self._accept, LOOPBACK, port))

    def become(self, mode: Mode) -> None:
        """Treat connections in another way from now on."""
        self._wait_for(self._become(mode))

    def close(self) -> None:
        """Reset everything and listen no more."""
        self._loop.call_soon_threadsafe(self._server.close)
        self.become(Mode.RESET)

    def _wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _become(self, mode: Mode) -> None:
        self.mode = mode
        if mode is Mode.BLACK_HOLE:
            self.passable.clear()
        else:
            self.passable.set()
        if mode is Mode.RESET:
            for connection in self._connections:
                connection.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            connection.close()


class _Connection:
    """A client's connection, and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writers = [writer]
        self._dead = proxy.mode is Mode.BLACK_HOLE

    async def run(self) -> None:
        """Carry bytes both ways until one end closes."""
        if self._proxy.mode is Mode.RESET:
            self.reset()
            return
        if self._dead:
            await self._carry(self._reader, self._writers[0])
            return
        try:
            server, writer = await asyncio.open_connection(LOOPBACK, self._proxy.upstream)
        except OSError:
            self.reset()  # a server that is gone answers like this
            return
        self._writers.append(writer)
        ways = [
            asyncio.create_task(self._carry(self._reader, writer, LATENCY_SECONDS)),
            asyncio.create_task(self._carry(server, self._writers[0])),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()

    def reset(self) -> None:
        """End both connections with RST."""
        for writer in self._writers:
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            writer.transport.abort()

    def close(self) -> None:
        """End both connections after what is written."""
        for writer in self._writers:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency: float = 0) -> None:
        """Carry bytes one way until their end; in a black hole, until after the heal."""
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._proxy.mode is Mode.LATENCY:
                    await asyncio.sleep(latency)
                self._dead = self._dead or self._proxy.mode is Mode.BLACK_HOLE
                if not self._dead:
                    writer.write(data)
                    await writer.drain()
        await self._proxy.passable.wait()


class Proxies:
    """Makes proxies that run in a thread of their own until `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        self._opened: list[Proxy] = []

    def to(self, upstream: int, port: int | None = None) -> Proxy:
        """Open a proxy for the server at `upstream`."""
        proxy = Proxy(upstream, port or free_port(), self._loop)
        self._opened.append(proxy)
        return proxy

    def close(self) -> None:
        """Close all of them."""
        for proxy in self._opened:
            proxy.close()
        asyncio.run_coroutine_threadsafe(_end_others(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def open_proxies() -> Iterator[Proxies]:
    """Open proxies until the block ends."""
    proxies = Proxies()
    try:
        yield proxies
    finally:
        proxies.close()
