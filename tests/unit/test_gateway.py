"""The gateway: each path has one owner, and every application has its lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import Message

from tidings_local.gateway import PREFIXES, Gateway, owner


@pytest.mark.parametrize(("prefix", "name"), PREFIXES.items())
def test_each_prefix_and_what_is_under_it_has_its_service(prefix: str, name: str) -> None:
    assert owner(prefix) == name
    assert owner(f"{prefix}/") == name
    assert owner(f"{prefix}/any/thing") == name
    assert owner(f"{prefix}x") == "home"
    assert owner(prefix[:-1]) == "home"
    assert owner(prefix.upper()) == "home"
    assert owner(f"/x{prefix}") == "home"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/register", "auth"),
        ("/api/login", "auth"),
        ("/api/me/password", "auth"),
        ("/.well-known/jwks.json", "auth"),
        ("/api/messages", "messages"),
        ("/api/messages/018f", "messages"),
        ("/api/db/messages", "messages"),
        ("/api/logs/x", "logs"),
        ("/openapi/logs.json", "logs"),
        ("/api/messagesx", "home"),
        ("/api/logsx/y", "home"),
        ("/api/message", "home"),
        ("/api", "home"),
        ("/", "home"),
        ("", "home"),
        ("/docs", "home"),
        ("/docs/events", "home"),
        ("/asyncapi.json", "home"),
        ("/health/ready", "home"),
        ("/openapi/other.json", "home"),
        ("//api/messages", "home"),
        ("/api//messages", "home"),
    ],
)
def test_the_owner_of_a_path(path: str, name: str) -> None:
    assert owner(path) == name


def app_named(name: str, seen: list[str], fails: bool = False) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        if fails:
            raise OSError(f"{name} cannot start")
        seen.append(f"{name} starts")
        try:
            yield {"own": name}
        finally:
            seen.append(f"{name} stops")

    app = FastAPI(lifespan=lifespan)

    @app.get("/{path:path}")
    async def answer(request: Request) -> Any:
        return {"name": name, "own": request.state.own, "path": request.url.path}

    return app


class Server:
    """Leads a gateway through its lifespan as a server would."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.sent: list[str] = []

    async def run(self, *paths: str) -> list[Any]:
        answers: list[Any] = []
        step = 0

        async def receive() -> Message:
            nonlocal step
            step += 1
            if step == 1:
                return {"type": "lifespan.startup"}
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.gateway), base_url="http://x") as http:
                answers.extend([(await http.get(path)).json() for path in paths])
            return {"type": "lifespan.shutdown"}

        async def send(message: Message) -> None:
            self.sent.append(message["type"])

        await self.gateway({"type": "lifespan"}, receive, send)
        return answers


async def test_each_call_reaches_its_application_with_its_own_state_and_the_path_as_it_was() -> None:
    apps = {name: app_named(name, []) for name in ("logs", "messages", "auth")}
    server = Server(Gateway(apps, app_named("home", [])))
    assert await server.run("/api/logs/x", "/api/messages", "/api/login", "/other") == [
        {"name": "logs", "own": "logs", "path": "/api/logs/x"},
        {"name": "messages", "own": "messages", "path": "/api/messages"},
        {"name": "auth", "own": "auth", "path": "/api/login"},
        {"name": "home", "own": "home", "path": "/other"},
    ]
    assert server.sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_applications_stop_in_the_reverse_of_their_start() -> None:
    seen: list[str] = []
    gateway = Gateway({name: app_named(name, seen) for name in ("logs", "auth")}, app_named("home", seen))
    await Server(gateway).run()
    assert seen == ["home starts", "logs starts", "auth starts", "auth stops", "logs stops", "home stops"]


async def test_when_one_cannot_start_the_others_are_stopped_and_the_server_is_told() -> None:
    seen: list[str] = []
    gateway = Gateway(
        {"logs": app_named("logs", seen), "auth": app_named("auth", seen, fails=True)}, app_named("home", seen)
    )
    server = Server(gateway)
    with pytest.raises(OSError, match="auth cannot start"):
        await server.run()
    assert server.sent == ["lifespan.startup.failed"]
    assert seen == ["home starts", "logs starts", "logs stops", "home stops"]
