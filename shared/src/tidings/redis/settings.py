"""Settings of the connection to Redis."""

from pydantic import Field, SecretStr, field_validator

from tidings.settings import Group

SCHEMES = ("redis://", "rediss://", "memory://")


class RedisSettings(Group):
    """Where Redis is."""

    url: SecretStr = Field(description="redis://[user:password@]host:6379/0, or memory://name within one process")

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(SCHEMES):
            raise ValueError(f"must start with {' or '.join(SCHEMES)}")
        return url
