"""The catalogue: every event type that Tidings knows, by its `ce_type`."""

from tidings.events.accounts import (
    UserDeleted,
    UserDisabled,
    UserEnabled,
    UserPasswordChanged,
    UserRegistered,
    UserRenamed,
    UserRoleChanged,
)
from tidings.events.activity import ActivityGap, ApiRequest
from tidings.events.envelope import EventData
from tidings.events.messages import MessageCreated
from tidings.events.sessions import LoginFailed, SessionEnded, SessionReuseDetected, SessionStarted

CATALOGUE: dict[str, type[EventData]] = {
    data.type(): data
    for data in (
        UserRegistered,
        UserRenamed,
        UserPasswordChanged,
        UserDisabled,
        UserEnabled,
        UserRoleChanged,
        UserDeleted,
        SessionStarted,
        SessionEnded,
        SessionReuseDetected,
        LoginFailed,
        MessageCreated,
        ApiRequest,
        ActivityGap,
    )
}
