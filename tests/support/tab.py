"""A tab: a client with a cookie jar, as a browser has one."""

import asyncio
import secrets
from typing import Any

import httpx

from support.instance import PASSWORD

OURS = {"X-Tidings-Client": "tests"}
COOKIE = "tidings_refresh"
PLACES = ("/api/me", "/api/messages", "/api/logs")
"""One of each service."""


class Tab:
    """Somebody at a browser.

    Args:
        http: reaches the API, with a jar of its own.
        username: whose account it is.
    """

    def __init__(self, http: httpx.AsyncClient, username: str) -> None:
        self.http = http
        self.username = username
        self.token = ""

    async def sign_in(self, password: str = PASSWORD) -> httpx.Response:
        """Start a session."""
        answer = await self.http.post("/api/login", json={"username": self.username, "password": password})
        self.token = answer.json().get("access_token", "")
        return answer

    async def refresh(self, cookie: str | None = None, **headers: str) -> httpx.Response:
        """Refresh with the jar's cookie, or with `cookie`; the jar keeps what is answered."""
        sent = OURS | headers | ({"Cookie": f"{COOKIE}={cookie}"} if cookie else {})
        answer = await self.http.post("/api/refresh", headers=sent)
        if answer.status_code == 200:
            self.token = answer.json()["access_token"]
        return answer

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call with the access token."""
        return await self.http.request(
            method, path, headers=OURS | {"Authorization": f"Bearer {self.token}"}, **options
        )

    async def statuses(self) -> set[int]:
        """What each of the three services says to this tab's access token."""
        return {(await self.call("GET", path)).status_code for path in PLACES}

    async def refused(self, seconds: float = 5) -> bool:
        """Whether all services refuse the token within so many seconds."""
        end = asyncio.get_running_loop().time() + seconds
        while await self.statuses() != {401}:
            if asyncio.get_running_loop().time() > end:
                return False
            await asyncio.sleep(0.02)
        return True

    @property
    def cookie(self) -> str:
        """The refresh token that the jar has."""
        return next(cookie.value or "" for cookie in self.http.cookies.jar if cookie.path == "/api/refresh")


async def newcomer(http: httpx.AsyncClient, username: str | None = None) -> Tab:
    """Register somebody and sign in."""
    tab = Tab(http, username or f"tester-{secrets.token_hex(4)}")
    body = {"username": tab.username, "password": PASSWORD}
    registered = await http.post("/api/register", json=body)
    assert registered.status_code == 201, registered.text
    signed_in = await tab.sign_in()
    assert signed_in.status_code == 200, signed_in.text
    return tab
