"""The catalogue: every event type that Tidings knows, by its `ce_type`."""

from tidings.events.accounts import SessionStarted, UserRegistered
from tidings.events.activity import ActivityGap, ApiRequest
from tidings.events.envelope import EventData
from tidings.events.messages import MessageCreated

CATALOGUE: dict[str, type[EventData]] = {
    data.type(): data for data in (UserRegistered, SessionStarted, MessageCreated, ApiRequest, ActivityGap)
}
