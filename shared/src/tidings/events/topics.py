"""The topic registry: each topic's name and shape, declared once."""

from dataclasses import dataclass

AUTH = "tidings.auth.v1"
MESSAGES = "tidings.messages.v1"
ACTIVITY = "tidings.activity.v1"


@dataclass(frozen=True)
class Topic:
    """How a topic is made."""

    name: str
    partitions: int
    retention_days: int
    dead_letter_days: int = 30
    """How long a record that could not be stored is kept for somebody to look at."""


REGISTRY: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(AUTH, partitions=4, retention_days=30),
        Topic(MESSAGES, partitions=4, retention_days=30),
        Topic(ACTIVITY, partitions=4, retention_days=7),
    )
}
