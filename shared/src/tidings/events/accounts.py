"""Events about accounts and sessions, made by auth."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from tidings.events.envelope import EventData
from tidings.events.topics import AUTH


class AccountEvent(EventData):
    """What every event about an account carries; ordered per account."""

    topic: ClassVar[str] = AUTH

    user_id: UUID
    username: Annotated[str, Field(max_length=64)]

    def key(self) -> str:
        return str(self.user_id)

    def user(self) -> UUID | None:
        return self.user_id


class UserRegistered(AccountEvent):
    """A person made an account."""

    name: ClassVar[str] = "user.registered"


class SessionStarted(AccountEvent):
    """A person signed in."""

    name: ClassVar[str] = "session.started"

    session_id: UUID
