"""Activity: one event for each call of an API, made by every service and by other teams' producers."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from tidings.events.envelope import EventData
from tidings.events.topics import ACTIVITY


class ApiRequest(EventData):
    """One HTTP call, described without its content."""

    name: ClassVar[str] = "api.request"
    topic: ClassVar[str] = ACTIVITY

    method: Annotated[str, Field(max_length=16)]
    route: Annotated[str | None, Field(max_length=255)] = None
    """The route's template, e.g. `/api/messages/{id}`; none when no route matched."""
    status: Annotated[int, Field(ge=100, le=599)]
    duration_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    response_bytes: Annotated[int, Field(ge=0)] = 0
    user_id: UUID | None = None
    username: Annotated[str | None, Field(max_length=64)] = None
    request_id: Annotated[str | None, Field(max_length=128)] = None
    client: Annotated[str | None, Field(max_length=64)] = None
    """Keyed hash of the caller's address: tells callers apart without naming them."""

    def key(self) -> str:
        return str(self.user_id) if self.user_id else (self.client or "anonymous")

    def user(self) -> UUID | None:
        return self.user_id


class ActivityGap(EventData):
    """Some activity of a service is missing: it had to be dropped while Kafka was away."""

    name: ClassVar[str] = "activity.gap"
    topic: ClassVar[str] = ACTIVITY

    service: Annotated[str, Field(min_length=1, max_length=255)]
    dropped: Annotated[int, Field(ge=1)]
    """How many events are missing since the gap before, or since the service started."""

    def key(self) -> str:
        return self.service

    def user(self) -> UUID | None:
        return None
