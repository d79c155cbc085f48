"""Events about accounts and sessions, made by auth."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import ConfigDict, Field

from tidings.events.envelope import EventData
from tidings.events.topics import AUTH


class AccountEvent(EventData):
    """What every event about an account carries; ordered per account."""

    topic: ClassVar[str] = AUTH

    user_id: Annotated[UUID, Field(description="of the account")]
    username: Annotated[str, Field(max_length=64, description="as the person wrote it")]

    def key(self) -> str:
        return str(self.user_id)

    def user(self) -> UUID | None:
        return self.user_id


class UserRegistered(AccountEvent):
    """A person made an account."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": "01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17", "username": "mina"}]}
    )
    name: ClassVar[str] = "user.registered"


class SessionStarted(AccountEvent):
    """A person signed in."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17",
                    "username": "mina",
                    "session_id": "01980d2b-1f6a-7c44-8e02-b3a9d5c7e610",
                }
            ]
        }
    )
    name: ClassVar[str] = "session.started"

    session_id: Annotated[UUID, Field(description="of the session that began")]
