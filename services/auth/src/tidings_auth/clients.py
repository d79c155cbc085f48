"""Clients: where a call comes from, as the middleware found it."""

from typing import Annotated

from fastapi import Depends, Request

from tidings.http.headers import header_text
from tidings_auth.authentication import Client

DEVICE_LENGTH = 255


async def client_of(request: Request) -> Client:
    """Return where the call comes from; the address is empty when there is none, as behind a Unix socket."""
    scope = request.scope
    return Client(
        address=scope["tidings.client"] or "",
        device=header_text(request, "user-agent")[:DEVICE_LENGTH],
        fingerprint=scope["tidings.fingerprint"],
    )


Caller = Annotated[Client, Depends(client_of)]
