"""Events about messages, made by messages."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from tidings.events.envelope import EventData
from tidings.events.topics import MESSAGES


class MessageCreated(EventData):
    """A message was posted; its text stays in the messages service, its length travels."""

    name: ClassVar[str] = "message.created"
    topic: ClassVar[str] = MESSAGES

    message_id: UUID
    author_id: UUID
    author: Annotated[str, Field(max_length=64)]
    length: Annotated[int, Field(ge=0)]
    """Code points of the text."""

    def key(self) -> str:
        return str(self.message_id)

    def user(self) -> UUID | None:
        return self.author_id
