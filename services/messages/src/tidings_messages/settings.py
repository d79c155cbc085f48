"""Settings of the messages service."""

from tidings.commands import ServiceSettings
from tidings.database.settings import DatabaseSettings
from tidings.http.settings import ActivitySettings, HttpSettings, TokenSettings
from tidings.kafka.settings import KafkaSettings
from tidings.redis.settings import RedisSettings
from tidings.settings import group


class MessagesSettings(ServiceSettings):
    """Everything the messages service is told."""

    http: HttpSettings = group()
    database: DatabaseSettings = group()
    redis: RedisSettings = group()
    kafka: KafkaSettings = group()
    tokens: TokenSettings = group()
    activity: ActivitySettings = group()
