"""State: how a route gets what the lifespan opened."""

from typing import Any

from fastapi import Depends, Request


def from_state(name: str) -> Any:
    """Return a dependency that hands over `name` of the lifespan's state."""

    async def provide(request: Request) -> Any:
        return getattr(request.state, name)

    return Depends(provide)
