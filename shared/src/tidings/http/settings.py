"""Settings of a service's HTTP side and of the tokens it accepts."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from tidings.settings import Group


class HttpSettings(Group):
    """Where the service listens, and what it calls itself to clients."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=1, le=65535, description="port to listen on")
    public_url: str = Field(default="/", description="the public origin, shown in the API documents")
    trusted_hops: int = Field(
        default=0, ge=0, le=10, description="how many proxies each request comes through, counted in X-Forwarded-For"
    )


class TokenSettings(Group):
    """Which access tokens are believed."""

    issuer: str = Field(default="https://tidings.local", description="the `iss` of access tokens")
    audience: str = Field(default="tidings", description="the `aud` of access tokens")
    jwks_url: str = Field(description="where auth publishes its keys, e.g. http://auth:8000/.well-known/jwks.json")

    @field_validator("jwks_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        address = urlsplit(value)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError("is no http:// or https:// address")
        return value


class ActivitySettings(Group):
    """How callers are told apart in the activity log."""

    address_key: SecretStr = Field(
        min_length=16,
        description="secret of at least 16 characters that keys the hashes of client addresses and of requests",
    )
