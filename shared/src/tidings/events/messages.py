"""Events about messages, made by messages."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import ConfigDict, Field

from tidings.events.envelope import EventData
from tidings.events.fields import AnySpelling, Id
from tidings.events.topics import MESSAGES


class MessageCreated(EventData):
    """A message was posted; its text stays in the messages service, its length travels."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "message_id": "01980d2c-44b0-7e19-b6c8-0d5f9a3e7721",
                    "author_id": "01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17",
                    "author": "mina",
                    "length": 12,
                }
            ]
        }
    )
    name: ClassVar[str] = "message.created"
    topic: ClassVar[str] = MESSAGES

    message_id: Annotated[Id, Field(description="of the message")]
    author_id: Annotated[Id, Field(description="user id of who posted it")]
    author: Annotated[str, Field(max_length=64, description="username of who posted it")]
    length: Annotated[int, Field(ge=0, description="code points of the text"), AnySpelling]

    def key(self) -> str:
        return str(self.message_id)

    def user(self) -> UUID | None:
        return self.author_id
