"""The gateway: one ASGI application that sends each path to the service that owns it, and rewrites nothing."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

PREFIXES = {
    "/api/register": "auth",
    "/api/login": "auth",
    "/api/logout": "auth",
    "/api/refresh": "auth",
    "/api/me": "auth",
    "/api/sessions": "auth",
    "/api/users": "auth",
    "/.well-known": "auth",
    "/openapi/auth.json": "auth",
    "/api/messages": "messages",
    "/api/db": "messages",
    "/openapi/messages.json": "messages",
    "/api/logs": "logs",
    "/openapi/logs.json": "logs",
}
HOME = "home"


def owner(path: str) -> str:
    """Return the short name of the service that answers `path`; `home` when no service does."""
    for prefix, name in PREFIXES.items():
        if path == prefix or path.startswith(prefix + "/"):
            return name
    return HOME


class Gateway:
    """Dispatches by prefix, and leads every application through its lifespan.

    Args:
        apps: the services by short name, in the order in which they start; they stop in reverse.
        home: answers every other path.
    """

    def __init__(self, apps: Mapping[str, FastAPI], home: FastAPI) -> None:
        self.apps = {HOME: home, **apps}
        self.states: dict[str, Mapping[str, Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        name = owner(scope["path"])
        scope["state"] = dict(self.states[name])
        await self.apps[name](scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                for name, app in self.apps.items():
                    state = await stack.enter_async_context(app.router.lifespan_context(app))
                    self.states[name] = state or {}
            except Exception as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                raise
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
