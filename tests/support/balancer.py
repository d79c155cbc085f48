"""A load balancer as simple as they come: it keeps connections to each replica, and retries only a refused one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"


@dataclass
class _Kept:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def usable(self) -> bool:
        """Return whether the replica has not closed it, as far as is known here."""
        return not self.reader.at_eof() and not self.writer.is_closing()


@dataclass
class Balancer:
    """Passes each request to one of the replicas in turn."""

    replicas: list[int]
    """Their ports."""
    failed: list[str] = field(default_factory=list)
    """What went wrong with requests that were sent to a replica."""
    closed_after: int = 0
    """How many answers said that their connection closes."""
    _kept: dict[int, list[_Kept]] = field(default_factory=dict)
    _turn: int = 0

    async def ask(self, target: str) -> int:
        """Return the status of the answer to a request, 0 when it failed."""
        for _ in range(200):
            self._turn += 1
            port = self.replicas[self._turn % len(self.replicas)]
            try:
                connection = await self._connection(port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
                continue
            return await self._pass_on(port, connection, target)
        self.failed.append("every replica refuses connections")
        return 0

    async def _connection(self, port: int) -> _Kept:
        kept = self._kept.setdefault(port, [])
        while kept:
            connection = kept.pop()
            if connection.usable():
                return connection
            connection.writer.close()
        return _Kept(*await asyncio.open_connection(LOOPBACK, port))

    async def _pass_on(self, port: int, connection: _Kept, target: str) -> int:
        try:
            connection.writer.write(f"GET {target} HTTP/1.1\r\nHost: tidings\r\n\r\n".encode())
            head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            fields = dict(line.split(": ", 1) for line in head.rstrip().split("\r\n")[1:])
            await connection.reader.readexactly(int(fields["content-length"]))
        except (OSError, asyncio.IncompleteReadError) as error:
            self.failed.append(repr(error))
            connection.writer.close()
            return 0
        if fields.get("connection") == "close":
            self.closed_after += 1
            connection.writer.close()
        else:
            self._kept[port].append(connection)
        return int(head.split()[1])

    async def close(self) -> None:
        """Close what is kept."""
        for connection in [one for kept in self._kept.values() for one in kept]:
            connection.writer.close()
            with suppress(ConnectionError):
                await connection.writer.wait_closed()


@asynccontextmanager
async def balancer(*replicas: int) -> AsyncIterator[Balancer]:
    """Run a balancer of the replicas at these ports."""
    made = Balancer(list(replicas))
    try:
        yield made
    finally:
        await made.close()
