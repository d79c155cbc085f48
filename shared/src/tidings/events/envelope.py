"""The envelope: one event, its data typed by a versioned model, its attributes those of CloudEvents 1.0."""

import re
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Generic, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from tidings.events.fields import Id, misfit
from tidings.events.ids import uuid7
from tidings.events.times import parse_time

TYPE_PREFIX = "tidings."
SCHEMA_PREFIX = "urn:tidings:schema:"
"""Names a schema wherever it is kept: a URL would tie every stored event to one deployment's host."""
SEQUENCE_DIGITS = 19
"""Digits that a `ce_sequence` has at most; enough for nanoseconds since 1970."""
SEQUENCE = re.compile(f"[0-9]{{1,{SEQUENCE_DIGITS}}}")


class EventData(BaseModel):
    """The data of one event type; a subclass is the contract of one version of it.

    Unknown fields are ignored, so that a newer producer does not stop an older consumer; the known ones must have their
    exact types.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    name: ClassVar[str]
    """Name without prefix and version, e.g. `message.created`."""
    version: ClassVar[int] = 1
    topic: ClassVar[str]
    """The Kafka topic that carries this type."""

    @classmethod
    def type(cls) -> str:
        """Return the `ce_type`, e.g. `tidings.message.created.v1`."""
        return f"{TYPE_PREFIX}{cls.name}.v{cls.version}"

    @classmethod
    def dataschema(cls) -> str:
        """Return the `ce_dataschema`, which is the `$id` of the type's JSON Schema."""
        return f"{SCHEMA_PREFIX}{cls.name}.v{cls.version}"

    def key(self) -> str:
        """Return the partition key: events of one key keep their order."""
        raise NotImplementedError

    def subject(self) -> str | None:
        """Return the `ce_subject`, what the event is about: that which its key names, where a type does not differ."""
        return self.key()

    def user(self) -> UUID | None:
        """Return the id of the user whose activity this is; `None` when nobody was signed in."""
        raise NotImplementedError


D = TypeVar("D", bound=EventData, covariant=True)


class Event(BaseModel, Generic[D]):
    """One fact or activity, as it travels (CloudEvents 1.0 section 3)."""

    model_config = ConfigDict(frozen=True)

    id: Id = Field(default_factory=uuid7)
    """Unique among the events of one source: the log stores each id of a source once for each topic."""
    source: Annotated[str, Field(min_length=1, max_length=255)]
    """The service that made it, e.g. `tidings-messages`."""
    time: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    """When it happened, UTC, microseconds."""
    sequence: Annotated[int | None, Field(ge=0, lt=10**SEQUENCE_DIGITS)] = None
    """Number within its key, where the producer counts."""
    data: D

    @field_validator("sequence", mode="before")
    @classmethod
    def _of_digits(cls, sequence: object) -> object:
        # int() also takes signs, spaces, underscores, fractions and the digits of other scripts.
        if isinstance(sequence, str) and not SEQUENCE.fullmatch(sequence):
            raise misfit(f"is not a number of 1 to {SEQUENCE_DIGITS} digits")
        return sequence

    @field_validator("time", mode="before")
    @classmethod
    def _of_rfc3339(cls, time: object) -> object:
        if not isinstance(time, str):
            return time
        try:
            return parse_time(time)
        except ValueError as error:
            raise misfit(str(error)) from None

    @field_validator("time")
    @classmethod
    def _in_utc(cls, time: datetime) -> datetime:
        try:
            return time.astimezone(UTC)
        except OverflowError:
            raise misfit("is outside the years 1 to 9999 in UTC") from None
