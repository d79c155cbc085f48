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


REGISTRY: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(AUTH, partitions=4),
        Topic(MESSAGES, partitions=4),
        Topic(ACTIVITY, partitions=4),
    )
}
