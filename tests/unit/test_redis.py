"""The Redis client: in memory one store for each name, on a network no second attempt."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tidings.redis import client
from tidings.redis.client import connect
from tidings.redis.settings import RedisSettings


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Redis]:
    redis = connect(RedisSettings(url=SecretStr(url)))
    try:
        yield redis
    finally:
        await redis.aclose()


async def test_clients_in_memory_of_one_name_have_one_store() -> None:
    async with connected("memory://one") as first, connected("memory://one") as second:
        await first.set("key", "값")
        assert await second.get("key") == "값"
        await second.delete("key")
        assert await first.get("key") is None


async def test_clients_in_memory_of_different_names_have_different_stores() -> None:
    async with connected("memory://two") as first, connected("memory://three") as second:
        await first.set("key", "value")
        assert await second.get("key") is None


async def test_a_store_in_memory_outlives_its_client() -> None:
    async with connected("memory://four") as first:
        await first.set("key", "value")
    async with connected("memory://four") as second:
        assert await second.get("key") == "value"


class Server:
    """Agrees to every greeting; at `INCR`, which it counts, it cuts the connection off or stays silent."""

    def __init__(self, cut: bool) -> None:
        self.incremented = 0
        self._cut = cut

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while sent := await reader.read(4096):
            if b"INCR" in sent:
                self.incremented += 1
                if self._cut:
                    break
                continue
            for command in sent.split(b"*")[1:]:
                writer.write(b"%1\r\n$5\r\nproto\r\n:3\r\n" if b"HELLO" in command else b"+OK\r\n")
        writer.close()


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[str]:
    listening = await asyncio.start_server(server.take, "127.0.0.1", 0)
    async with listening:
        yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0"


async def test_a_client_on_a_network_tries_a_command_once() -> None:
    server = Server(cut=True)
    async with running(server) as url, connected(url) as redis:
        with pytest.raises(RedisConnectionError):
            await redis.incr("counter")
        assert server.incremented == 1


async def test_a_client_on_a_network_gives_a_silent_server_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SOCKET_TIMEOUT", 0.05)
    server = Server(cut=False)
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with running(server) as url, connected(url) as redis:
        with pytest.raises(RedisTimeoutError):
            await redis.incr("counter")
        assert loop.time() - start < 1
        assert server.incremented == 1


def test_a_client_on_a_network_has_no_retries_of_its_own() -> None:
    redis = connect(RedisSettings(url=SecretStr("redis://:s3cret@redis:6379/3")))
    retry = redis.get_retry()
    assert retry is not None
    assert retry.get_retries() == 0
    options = redis.connection_pool.connection_kwargs
    assert (options["retry_on_error"], options["socket_timeout"], options["socket_connect_timeout"]) == ([], 1.0, 1.0)
    assert (options["host"], options["db"], options["decode_responses"]) == ("redis", 3, True)
