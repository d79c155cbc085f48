"""The flood: a process of its own that asks on many connections, on each again as soon as it is answered.

    python -m benchmarks.flood POST http://127.0.0.1:8000/api/messages TOKEN CONNECTIONS SECONDS

Posts messages, or reads with `GET`. Prints one line of JSON: how many requests were `made`, how many `refused` (503
with Retry-After), how many `failed` (any other answer, or none) in which way, and the `times` of those made, in
seconds. It speaks HTTP by itself: a client library would need more of the cores than the service does.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from urllib.parse import urlsplit

BODY = b'{"message": "one of very many"}'


class Flood:
    """Asks, and counts the answers.

    Args:
        method: `POST`, which makes messages, or `GET`.
        url: takes the requests.
        token: of somebody who is signed in.
        seconds: how long.
    """

    def __init__(self, method: str, url: str, token: str, seconds: float) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname, place.port
        body = BODY if method == "POST" else b""
        self._request = (
            f"{method} {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._seconds = seconds
        self.refused = 0
        self.failed: Counter[str] = Counter()
        """How many requests got no answer or a wrong one, by the answer's first line or the error."""
        self.times: list[float] = []

    async def run(self, connections: int) -> None:
        """Ask on so many connections at a time."""
        end = time.perf_counter() + self._seconds
        await asyncio.gather(*(self._ask_until(end) for _ in range(connections)))

    async def _ask_until(self, end: float) -> None:
        while time.perf_counter() < end:
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
                try:
                    while time.perf_counter() < end and await self._ask(reader, writer):
                        pass
                finally:
                    writer.close()
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failed[type(error).__name__] += 1

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Ask once; return whether the connection may be used again."""
        start = time.perf_counter()
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        if head.startswith((b"http/1.1 200", b"http/1.1 201")):
            self.times.append(time.perf_counter() - start)
        elif head.startswith(b"http/1.1 503") and b"\r\nretry-after: " in head:
            self.refused += 1
        else:
            self.failed[head.partition(b"\r\n")[0].decode()] += 1
        return b"\r\nconnection: close" not in head


def main() -> None:
    """Flood as the command line says."""
    _, method, url, token, connections, seconds = sys.argv
    flood = Flood(method, url, token, float(seconds))
    asyncio.run(flood.run(int(connections)))
    counts = {"made": len(flood.times), "refused": flood.refused, "failed": flood.failed, "times": flood.times}
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    main()
