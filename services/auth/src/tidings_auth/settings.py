"""Settings of the auth service."""

from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field

from tidings.commands import ServiceSettings
from tidings.database.settings import DatabaseSettings
from tidings.http.settings import ActivitySettings, HttpSettings
from tidings.kafka.settings import KafkaSettings
from tidings.redis.revocations import LONGEST_LIFETIME
from tidings.redis.settings import RedisSettings
from tidings.settings import DEVELOPMENT_ONLY, File, Group, Settings, Text, group

SPREAD_SECONDS = 600
"""Within this time every replica has seen a new keys file; Kubernetes takes up to two minutes to show it a Secret."""


class SigningSettings(Group):
    """What access tokens are signed with, and what they say."""

    keys_file: File = Field(
        description="JWK set with the private Ed25519 keys that sign access tokens; made by rotate-keys"
    )
    generate: bool = Field(default=False, description="make the keys file on first start; development only")
    rotate_days: int = Field(default=90, ge=1, le=3650, description="age at which rotate-keys replaces the current key")
    issuer: Text = Field(default="https://tidings.local", description="the `iss` of access tokens")
    audience: Text = Field(default="tidings", description="the `aud` of access tokens")
    lifetime_seconds: int = Field(
        default=300, ge=30, le=LONGEST_LIFETIME, description="how long an access token is good"
    )

    @property
    def keep_seconds(self) -> int:
        """How long a superseded key is still published: until its last token has expired, wherever it was signed."""
        return self.lifetime_seconds + SPREAD_SECONDS

    def development_only(self) -> Mapping[str, str]:
        """Refuse keys that each replica would make for itself."""
        return {"generate": DEVELOPMENT_ONLY} if self.generate else {}


class KeysSettings(Settings):
    """What `rotate-keys` is told."""

    signing: SigningSettings = group()


class SessionSettings(Group):
    """How long people stay signed in."""

    lifetime_days: int = Field(default=30, ge=1, le=365, description="longest time without a new sign-in")
    idle_days: int = Field(
        default=14, ge=1, le=365, description="longest time without any use; then the session is over"
    )
    insecure_cookie: bool = Field(
        default=False, description="send the refresh cookie by plain HTTP too; development only"
    )

    @property
    def lifetime(self) -> timedelta:
        """The longest time without a new sign-in."""
        return timedelta(days=self.lifetime_days)

    @property
    def idle(self) -> timedelta:
        """The longest time without any use."""
        return timedelta(days=self.idle_days)

    def development_only(self) -> Mapping[str, str]:
        """Refuse a cookie that anybody on the way could read."""
        return {"insecure_cookie": DEVELOPMENT_ONLY} if self.insecure_cookie else {}


class PasswordSettings(Group):
    """What a password must be."""

    min_length: int = Field(default=8, ge=8, le=64, description="fewest characters of a password; 15 is recommended")


class AuthSettings(ServiceSettings):
    """Everything the auth service is told."""

    http: HttpSettings = group()
    database: DatabaseSettings = group()
    redis: RedisSettings = group()
    kafka: KafkaSettings = group()
    activity: ActivitySettings = group()
    signing: SigningSettings = group()
    session: SessionSettings = group()
    password: PasswordSettings = group()
