"""What the log answers over HTTP."""

import json
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tidings.http.bodies import Time


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


class Entry(BaseModel):
    """One event, as the log keeps it."""

    model_config = ConfigDict(from_attributes=True)

    event_id: UUID = Field(
        description="unique among the events of one service and topic",
        examples=["01980d2b-52d3-7a3c-9c1f-4d2a8b7e6f50"],
    )
    type: str = Field(examples=["message.created"])
    service: str = Field(
        description="who made the event, by its own account (`ce_source`)", examples=["tidings-messages"]
    )
    occurred_at: Time = Field(description="when it happened")
    published_at: Time = Field(description="when Kafka got it, to the millisecond")
    stored_at: Time = Field(description="when the log stored it")
    user_id: UUID | None = Field(examples=["01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17"])
    username: str | None = Field(examples=["mina"])
    method: str | None = Field(examples=["POST"])
    route: str | None = Field(examples=["/api/messages"])
    status: int | None = Field(examples=[201])
    trace_id: str | None = Field(examples=["4bf92f3577b34da6a3ce929d0e0e4736"])
    span_id: str | None = Field(description="the span that published it", examples=["00f067aa0ba902b7"])
    topic: str = Field(examples=["tidings.messages.v1"])
    partition: int = Field(examples=[2])
    offset: int = Field(examples=[3])
    data: Annotated[dict[str, Any], BeforeValidator(_parsed)] = Field(
        description="what the event says",
        examples=[{"message_id": "01980d2b-52d0-7f0e-b6a5-0e0b6f3f7a91", "author": "mina"}],
    )
