"""An instance: all services in the test's own process, behind a real port, so that a test can look inside."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tidings.connections import Parser
from tidings.serving import PARSER, Server, server_config
from tidings_local.backends import Backends
from tidings_local.gateway import Gateway
from tidings_local.home import create_home
from tidings_local.services import Services, build_services

FINISH_SECONDS = 5
PASSWORD = "a password that nobody else has"


@dataclass
class Instance:
    """A running instance."""

    url: str
    services: Services
    gateway: Gateway
    http: httpx.AsyncClient

    @property
    def states(self) -> Mapping[str, Mapping[str, Any]]:
        """What each service's lifespan opened."""
        return self.gateway.states

    async def person(self, username: str | None = None) -> dict[str, str]:
        """Register and sign in, and return the headers that say so."""
        username = username or f"tester-{secrets.token_hex(4)}"
        await self.http.post("/api/register", json={"username": username, "password": PASSWORD})
        return await self.sign_in(username)

    async def sign_in(self, username: str) -> dict[str, str]:
        """Start another session and return the headers that say so."""
        body = {"username": username, "password": PASSWORD}
        answer = await self.http.post("/api/login", json=body)
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def admin(self) -> dict[str, str]:
        """Make an admin in the database, as the command line does, and return the headers that say so."""
        username = f"admin-{secrets.token_hex(4)}"
        await self.person(username)
        administration = self.states["auth"]["administration"]
        accounts, _ = await administration.accounts(1, username=username)
        await administration.change(accounts[0].id, None, role="admin")
        return await self.sign_in(username)

    async def until(self, path: str, headers: dict[str, str], count: int, seconds: float = 10) -> list[dict[str, Any]]:
        """Return the items of a list once there are `count`, or what there is after `seconds`."""
        end = asyncio.get_running_loop().time() + seconds
        while True:
            answer = await self.http.get(path, headers=headers)
            assert answer.status_code == 200, answer.text
            items: list[dict[str, Any]] = answer.json()["items"]
            if len(items) >= count or asyncio.get_running_loop().time() > end:
                return items
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running_instance(backends: Backends, folder: Path, parser: Parser = PARSER) -> AsyncIterator[Instance]:
    """Run all services until the block ends; wait until they are ready."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        services = build_services(backends, folder / "secrets", url)
        await services.migrate()
        gateway = Gateway(services.apps, create_home(backends.described, lambda: gateway.states))
        server = Server(server_config(gateway, finish_seconds=FINISH_SECONDS, parser=parser))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with httpx.AsyncClient(base_url=url, timeout=15) as http:
            try:
                await _until_ready(http, serving)
                yield Instance(url, services, gateway, http)
            finally:  # what fails in the block is told, not what it left open
                server.should_exit = True
                await serving


async def _until_ready(http: httpx.AsyncClient, serving: "asyncio.Task[None]") -> None:
    for _ in range(300):
        assert not serving.done(), "the instance ended while it started"
        try:
            if (await http.get("/health/ready")).status_code == 200:
                return
        except httpx.ConnectError:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError((await http.get("/health/ready")).text)
