"""What messages takes and answers over HTTP."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tidings.http.bodies import Body, Time
from tidings_messages.posting import MAX_GIVEN, MAX_LENGTH, PATTERN, normalised

USER_ID = "01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17"
MESSAGE_ID = "01980d2b-52d0-7f0e-b6a5-0e0b6f3f7a91"
EVENT_ID = "01980d2b-52d3-7a3c-9c1f-4d2a8b7e6f50"

Text = Annotated[
    str,
    AfterValidator(normalised),
    Field(
        description=f"1 to {MAX_LENGTH:,} characters (code points) without the spaces at its ends, {MAX_GIVEN:,} with "
        "them; at least one can be seen, and none is NUL",
        examples=["안녕하세요, 기록합니다."],
        json_schema_extra={"minLength": 1, "maxLength": MAX_GIVEN, "pattern": PATTERN},
    ),
]


class NewMessage(Body):
    """A message to post; whose it is, the access token says."""

    message: Text


class Message(BaseModel):
    """A message on the board."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(examples=[MESSAGE_ID])
    message: str = Field(examples=["안녕하세요, 기록합니다."])
    author: str = Field(examples=["mina"])
    author_id: UUID = Field(examples=[USER_ID])
    created_at: Time


class PostedMessage(Message):
    """A message just posted, with what finds its trail."""

    event_id: UUID = Field(description="the `message.created` event; find it in `/api/logs`", examples=[EVENT_ID])
    trace_id: str | None = Field(
        description="everything this request caused carries it", examples=["4bf92f3577b34da6a3ce929d0e0e4736"]
    )
