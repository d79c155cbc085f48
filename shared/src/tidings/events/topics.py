"""The topic registry: each topic's name and shape, declared once."""

from dataclasses import dataclass

AUTH = "tidings.auth.v1"
MESSAGES = "tidings.messages.v1"
ACTIVITY = "tidings.activity.v1"

READER = "tidings-log-consumer"


@dataclass(frozen=True)
class Topic:
    """How a topic is made, and whom it connects."""

    name: str
    partitions: int
    retention_days: int
    key: str
    """What its records are keyed by, for people: records of one key keep their order."""
    producers: tuple[str, ...]
    """The services that write it; all of it is read by `READER`."""
    dead_letter_days: int = 30
    """How long a record that could not be stored is kept for somebody to look at."""


REGISTRY: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(AUTH, partitions=4, retention_days=30, key="user id", producers=("tidings-auth",)),
        Topic(MESSAGES, partitions=4, retention_days=30, key="message id", producers=("tidings-messages",)),
        Topic(
            ACTIVITY,
            partitions=4,
            retention_days=7,
            key="user id, else the hash of the caller's address, else `anonymous`; of a gap the service's name",
            producers=("tidings-messages", "tidings-auth", READER),
        ),
    )
}
