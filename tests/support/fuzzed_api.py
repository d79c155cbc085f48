"""Hooks of Schemathesis, which runs in a process of its own: who makes each call, and from where."""

import os
import secrets
import time
from typing import Any
from uuid import uuid4

import httpx
import schemathesis

Call = schemathesis.Case[Any]

AUTH_URL = os.environ.get("FUZZED_AUTH_URL", "")
ADMIN = os.environ.get("FUZZED_ADMIN", "")
PASSWORD = "correct horse battery"
"""The one of the documents' examples, so that these succeed."""
ENDS_THE_SESSION = {"changePassword", "deleteMe", "logout", "refresh"}
ENDS_THE_ACCOUNT = {"changePassword", "deleteMe"}
FOR_ADMINS = {"changeUser", "listUsers"}
SECONDS = 120
"""How long a token is used; it would be good for five minutes."""


def _operation_id(case: Call) -> str:
    return str(case.operation.definition.raw["operationId"])


def _token_key(case: Call, _: schemathesis.AuthContext) -> str:
    """Return which calls share a token: those of one operation, unless each call ends the session."""
    name = _operation_id(case)
    return f"{name} {uuid4()}" if name in ENDS_THE_SESSION else name


@schemathesis.auth(refresh_interval=SECONDS, cache_by_key=_token_key, retry_on=[])
class SignedIn:
    """Somebody who has just signed in, by access token, or by refresh cookie where only that counts."""

    def __init__(self) -> None:
        self._usernames = dict.fromkeys(FOR_ADMINS, ADMIN)

    def get(self, case: Call, _: schemathesis.AuthContext) -> httpx.Response:
        """Sign in to the operation's account; make another one when there is none, or the last one is spent."""
        name = _operation_id(case)
        with httpx.Client(base_url=AUTH_URL, headers={"X-Forwarded-For": _any_address()}, timeout=30) as http:
            if name not in self._usernames or name in ENDS_THE_ACCOUNT:
                self._usernames[name] = f"tester-{secrets.token_hex(6)}"
                self._ask(http, "/api/register", name)
            return self._ask(http, "/api/login", name)

    def _ask(self, http: httpx.Client, path: str, name: str) -> httpx.Response:
        """Send the operation's credentials, again while the service is busy with the calls that are tried."""
        for _ in range(30):
            answer = http.post(path, json=self._credentials(name))
            if answer.status_code != 503:
                break
            time.sleep(float(answer.headers["Retry-After"]))
        return answer.raise_for_status()

    def _credentials(self, name: str) -> dict[str, str]:
        return {"username": self._usernames[name], "password": PASSWORD}

    def set(self, case: Call, data: httpx.Response, _: schemathesis.AuthContext) -> None:
        """Have the call carry what its operation asks for."""
        if _operation_id(case) == "refresh":
            case.cookies = {**(case.cookies or {}), **{cookie.name: cookie.value for cookie in data.cookies.jar}}
        else:
            case.headers["Authorization"] = f"Bearer {data.json()['access_token']}"


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: Call, kwargs: dict[str, Any]) -> None:
    """Make each call from another address, as many people would: the throttle is tested elsewhere."""
    case.headers["X-Forwarded-For"] = _any_address()


def _any_address() -> str:
    return "2001:db8:" + ":".join(f"{secrets.randbelow(65536):x}" for _ in range(6))
