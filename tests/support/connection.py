"""One kept HTTP/1.1 connection, for tests of what a connection carries from one request to the next."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Answer:
    """An answer as it came over the wire; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body's JSON."""
        return json.loads(self.body)


def request_bytes(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return a request with a `Content-Length`."""
    lines = [f"{method} {target} HTTP/1.1", "Host: tidings", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """A connection whose requests are written byte by byte as the test wants them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Send a request and return its answer."""
        self.writer.write(request_bytes(method, target, headers, body))
        return await self.answer()

    async def answer(self) -> Answer:
        """Return the next answer of the connection."""
        async with asyncio.timeout(15):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(status_line.split()[1]), headers, body)

    async def rest(self) -> bytes:
        """Return all that comes until the server closes the connection."""
        async with asyncio.timeout(30):
            return await self._reader.read()

    async def part(self, most: int) -> bytes:
        """Return what has come, at most so many bytes; none when the server has closed the connection."""
        async with asyncio.timeout(30):
            return await self._reader.read(most)


@asynccontextmanager
async def connection_to(url: str) -> AsyncIterator[Connection]:
    """Open a connection to the origin `url`."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
