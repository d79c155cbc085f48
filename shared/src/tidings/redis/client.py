"""The client: redis-py without its own retries, which would run a script or a counter twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tidings.redis.errors import RedisUnavailable
from tidings.redis.settings import RedisSettings

SOCKET_TIMEOUT = 1.0
DECODING: dict[str, Any] = {"decode_responses": True, "encoding_errors": "replace"}
"""What is no UTF-8 in one answer's part takes not the rest of it away."""


def connect(settings: RedisSettings) -> Redis:
    """Return a client for `settings.url`; it connects on first use.

    `memory://name` is an in-process stand-in, the same for every client of that name.
    """
    url = settings.url.get_secret_value()
    if url.startswith("memory://"):
        return _in_memory(url)
    return Redis.from_url(
        url,
        **DECODING,
        socket_timeout=SOCKET_TIMEOUT,
        socket_connect_timeout=SOCKET_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
    )


@asynccontextmanager
async def answering(within: float = SOCKET_TIMEOUT) -> AsyncIterator[None]:
    """Give what is done with Redis in the block `within` seconds, connecting included.

    Raises:
        RedisUnavailable: no connection, no answer in time, or an answer that is an error.
    """
    try:
        async with asyncio.timeout(within):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise RedisUnavailable("Redis does not answer") from error


def _in_memory(url: str) -> Redis:
    from fakeredis import FakeAsyncRedis  # only an embedded installation has it

    client: Redis = FakeAsyncRedis(server=_server(url), **DECODING)
    return client


@cache
def _server(url: str) -> Any:
    from fakeredis import FakeServer

    return FakeServer()
