"""Activity: one event for each call of an API, made by every service and by other teams' producers."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import ConfigDict, Field

from tidings.events.envelope import EventData
from tidings.events.fields import AnySpelling, Id
from tidings.events.topics import ACTIVITY


class ApiRequest(EventData):
    """One HTTP call, described without its content."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "method": "POST",
                    "route": "/api/messages",
                    "status": 201,
                    "duration_ms": 3.412,
                    "response_bytes": 289,
                    "user_id": "01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17",
                    "username": "mina",
                    "request_id": "01980d2c-44ae-7f02-8d3b-5a1c7e90f466",
                    "client": "5f0c2a9be4d1478fa3b60c7d19e852f4",
                }
            ]
        }
    )
    name: ClassVar[str] = "api.request"
    topic: ClassVar[str] = ACTIVITY

    method: Annotated[str, Field(max_length=16, description="of the call, e.g. `GET`")]
    route: Annotated[
        str | None,
        Field(max_length=255, description="its template, e.g. `/api/messages/{id}`; null when no route matched"),
    ] = None
    status: Annotated[int, Field(ge=100, le=599, description="of the answer"), AnySpelling]
    duration_ms: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="from the first byte of the call to the end of the answer")
    ]
    response_bytes: Annotated[int, Field(ge=0, description="of the answer's body"), AnySpelling] = 0
    user_id: Annotated[Id | None, Field(description="of the caller; null when nobody was signed in")] = None
    username: Annotated[str | None, Field(max_length=64, description="of the caller")] = None
    request_id: Annotated[str | None, Field(max_length=128, description="as answered in `X-Request-Id`")] = None
    client: Annotated[
        str | None,
        Field(max_length=64, description="keyed hash of the caller's address: tells callers apart, names nobody"),
    ] = None

    def key(self) -> str:
        return str(self.user_id) if self.user_id else (self.client or "anonymous")

    def subject(self) -> str | None:
        return self.route

    def user(self) -> UUID | None:
        return self.user_id


class ActivityGap(EventData):
    """Some activity of a service is missing: it had to be dropped while Kafka was away."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"service": "tidings-messages", "dropped": 1250}]})
    name: ClassVar[str] = "activity.gap"
    topic: ClassVar[str] = ACTIVITY

    service: Annotated[str, Field(min_length=1, max_length=255, description="whose activity it is, its `ce_source`")]
    dropped: Annotated[
        int,
        Field(ge=1, description="events missing since the gap before, or since the service started"),
        AnySpelling,
    ]

    def key(self) -> str:
        return self.service

    def user(self) -> UUID | None:
        return None
