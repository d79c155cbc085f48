"""Events: envelope, catalogue, topic registry and codec. Imports pydantic and nothing else."""

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
from tidings.events.catalogue import CATALOGUE
from tidings.events.codec import decode, encode
from tidings.events.envelope import Event, EventData
from tidings.events.ids import uuid7
from tidings.events.messages import MessageCreated
from tidings.events.record import Record, Undecodable
from tidings.events.sessions import LoginFailed, SessionEnded, SessionReuseDetected, SessionStarted
from tidings.events.structured import in_binary_mode

__all__ = [
    "CATALOGUE",
    "ActivityGap",
    "ApiRequest",
    "Event",
    "EventData",
    "LoginFailed",
    "MessageCreated",
    "Record",
    "SessionEnded",
    "SessionReuseDetected",
    "SessionStarted",
    "Undecodable",
    "UserDeleted",
    "UserDisabled",
    "UserEnabled",
    "UserPasswordChanged",
    "UserRegistered",
    "UserRenamed",
    "UserRoleChanged",
    "decode",
    "encode",
    "in_binary_mode",
    "uuid7",
]
