"""A client of the API: a person who is signed in, as the tests need one."""

import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

PASSWORD = "a password that nobody else has"


class Person:
    """Somebody who registered and signed in.

    Args:
        http: reaches the API.
        username: made up when not given.
    """

    def __init__(self, http: httpx.Client, username: str | None = None) -> None:
        self.http = http
        self.username = username or f"tester-{secrets.token_hex(4)}"
        registered = http.post("/api/register", json={"username": self.username, "password": PASSWORD})
        assert registered.status_code == 201, registered.text
        self.id: str = registered.json()["id"]
        self.sign_in()

    def sign_in(self) -> None:
        """Take a new access token."""
        answer = self.http.post("/api/login", json={"username": self.username, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        self.token: str = answer.json()["access_token"]

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET as this person."""
        return self.http.get(path, headers=self.headers, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """POST as this person."""
        return self.http.post(path, headers=self.headers | options.pop("headers", {}), **options)

    def say(self, text: str) -> dict[str, Any]:
        """Post a message and return it."""
        answer = self.post("/api/messages", json={"message": text})
        assert answer.status_code == 201, answer.text
        message: dict[str, Any] = answer.json()
        return message

    def log(self, **parameters: Any) -> list[dict[str, Any]]:
        """Return the whole log that fits, page by page, newest first."""
        entries: list[dict[str, Any]] = []
        while True:
            answer = self.get("/api/logs", params={"limit": 100} | parameters)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            entries += page["items"]
            if page["next_cursor"] is None:
                return entries
            parameters["cursor"] = page["next_cursor"]

    @property
    def headers(self) -> dict[str, str]:
        """What says who this is."""
        return {"Authorization": f"Bearer {self.token}"}


def eventually(read: Callable[[], T], enough: Callable[[T], bool], seconds: float = 10) -> T:
    """Return what `read` gives once it is `enough`, or what it gives after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = read()
        if enough(found) or time.monotonic() > end:
            return found
        time.sleep(0.05)
