"""All settings that there are, found by walking the settings classes, so that a test over them misses none."""

from collections.abc import Iterator

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tidings.kafka.topics import TopicsSettings
from tidings.settings import Group, variable
from tidings.standard_variables import StandardVariables
from tidings_auth.managing import ManagementSettings
from tidings_auth.settings import AuthSettings, KeysSettings
from tidings_local.settings import LocalSettings
from tidings_log_consumer.settings import LogSettings
from tidings_messages.settings import MessagesSettings

KINDS: list[type[StandardVariables]] = [
    AuthSettings,
    MessagesSettings,
    LogSettings,
    KeysSettings,
    ManagementSettings,
    TopicsSettings,
    LocalSettings,
]
COMPLETE = {
    "TIDINGS_DATABASE_URL": "mysql+aiomysql://u:p@db/tidings",
    "TIDINGS_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "TIDINGS_REDIS_URL": "redis://redis:6379/0",
    "TIDINGS_ACTIVITY_ADDRESS_KEY": "0123456789abcdef",
    "TIDINGS_TOKENS_JWKS_URL": "http://auth:8000/keys",
    "TIDINGS_SIGNING_KEYS_FILE": "keys.json",
}
"""Everything that some service must be given."""


def _walk(kind: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...], FieldInfo]]:
    for name, info in kind.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Group):
            yield from _walk(info.annotation, (*path, name))
        else:
            alias = info.validation_alias
            yield alias if isinstance(alias, str) else variable((*path, name)), (*path, name), info


PLACES = {name: (kind, path) for kind in KINDS for name, path, _ in _walk(kind)}
"""Of each variable a class that reads it, and the names of the fields that lead to it."""
SECRET = {name for kind in KINDS for name, _, info in _walk(kind) if SecretStr.__name__ in repr(info)}
"""The variables that are shown to nobody."""
