"""Settings of the log consumer."""

from pydantic import Field

from tidings.commands import ServiceSettings
from tidings.database.settings import DatabaseSettings
from tidings.http.settings import ActivitySettings, HttpSettings, TokenSettings
from tidings.kafka.settings import KafkaSettings
from tidings.settings import Group, group


class ConsumerSettings(Group):
    """How the log consumer reads."""

    group: str = Field(default="tidings-log", min_length=1, max_length=255, description="the Kafka consumer group")


class LogSettings(ServiceSettings):
    """Everything the log consumer is told."""

    http: HttpSettings = group()
    database: DatabaseSettings = group()
    kafka: KafkaSettings = group()
    consumer: ConsumerSettings = group()
    tokens: TokenSettings = group()
    activity: ActivitySettings = group()
