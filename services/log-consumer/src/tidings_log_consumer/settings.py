"""Settings of the log consumer."""

from pydantic import Field

from tidings.commands import ServiceSettings
from tidings.database.settings import DatabaseSettings
from tidings.http.settings import ActivitySettings, HttpSettings, TokenSettings
from tidings.kafka.settings import KafkaSettings
from tidings.redis.settings import RedisSettings
from tidings.settings import Group, Text, group


class ConsumerSettings(Group):
    """How the log consumer reads."""

    group: Text = Field(default="tidings-log", description="the Kafka consumer group")
    max_poison_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="share of records in a minute that may be no events; more stops the consumer",
    )
    min_poison: int = Field(
        default=100, ge=0, le=1_000_000, description="so many in a minute are allowed whatever their share"
    )


class LogSettings(ServiceSettings):
    """Everything the log consumer is told."""

    http: HttpSettings = group()
    database: DatabaseSettings = group()
    redis: RedisSettings = group()
    kafka: KafkaSettings = group()
    consumer: ConsumerSettings = group()
    tokens: TokenSettings = group()
    activity: ActivitySettings = group()
