"""Events about sessions and signing in, made by auth."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import ConfigDict, Field

from tidings.events.accounts import AccountEvent, example
from tidings.events.envelope import EventData
from tidings.events.fields import Id
from tidings.events.topics import AUTH

SESSION = "01980d2b-1f6a-7c44-8e02-b3a9d5c7e610"


class SessionStarted(AccountEvent):
    """A person signed in."""

    model_config = example(session_id=SESSION)
    name: ClassVar[str] = "session.started"

    session_id: Annotated[Id, Field(description="of the session that began")]


class SessionEnded(AccountEvent):
    """A session ended before its time."""

    model_config = example(session_id=SESSION, reason="logout")
    name: ClassVar[str] = "session.ended"

    session_id: Annotated[Id, Field(description="of the session that ended")]
    reason: Annotated[
        str,
        Field(
            max_length=32,
            description="`logout`, `ended_by_user`, `password_changed`, `disabled`, `role_changed`, `deleted`, "
            "`reuse`, `too_many` (the oldest of more than an account may have), `token_lost` (Redis lost its refresh "
            "token) or `operator`; more may be added",
        ),
    ]


class SessionReuseDetected(AccountEvent):
    """A refresh token was used again long after it was spent, as by a thief; the session ends with it."""

    model_config = example(session_id=SESSION)
    name: ClassVar[str] = "session.reuse_detected"

    session_id: Annotated[Id, Field(description="of the session whose token it was")]


class LoginFailed(EventData):
    """Somebody tried to sign in and could not. The name that was tried is not told: people mistype passwords there."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17",
                    "reason": "wrong_credentials",
                    "client": "5f0c2a9be4d1478fa3b60c7d19e852f4",
                }
            ]
        }
    )
    name: ClassVar[str] = "login.failed"
    topic: ClassVar[str] = AUTH

    user_id: Annotated[Id | None, Field(description="of the account; null when there is none of the name")] = None
    reason: Annotated[
        str,
        Field(max_length=32, description="`wrong_credentials`, `throttled` or `disabled`; more may be added"),
    ]
    client: Annotated[str | None, Field(max_length=64, description="keyed hash of the caller's address")] = None

    def key(self) -> str:
        return str(self.user_id) if self.user_id else (self.client or "anonymous")

    def user(self) -> UUID | None:
        return self.user_id
