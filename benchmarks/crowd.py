"""The crowd: a process of its own that keeps trying to sign in, 64 at a time, each from another address of loopback.

    python -m benchmarks.crowd http://127.0.0.1:8000

It stands back for the service (nice 19): a real crowd brings its own processors. Ends with SIGTERM.
"""

import asyncio
import os
import random
import sys

import httpx

SIZE = 64


async def main(url: str) -> None:
    """Try to sign in until the process is ended."""
    os.nice(19)
    print("here", flush=True)
    await asyncio.gather(*(keep_trying(url) for _ in range(SIZE)))


async def keep_trying(url: str) -> None:
    """Try names that nobody has, each time as soon as the last try is answered."""
    address = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(base_url=url, transport=transport, timeout=60) as client:
        while True:
            body = {"username": f"nobody-{random.getrandbits(64)}", "password": "a password that nobody has"}
            answer = await client.post("/api/login", json=body)
            assert answer.status_code in (401, 429, 503), answer.text


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
