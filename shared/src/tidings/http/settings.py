"""Settings of a service's HTTP side and of the tokens it accepts."""

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from tidings import addresses
from tidings.settings import Group, Port, Secret, Text


class HttpSettings(Group):
    """Where the service listens, and what it calls itself to clients."""

    host: Annotated[str, AfterValidator(addresses.host)] = Field(
        default="127.0.0.1", description="address to listen on"
    )
    port: Port = Field(default=8000, description="port to listen on")
    management_port: Port | None = Field(
        default=None, description="another port to listen on, for operators: health says the reasons there"
    )
    public_url: Annotated[str, AfterValidator(addresses.origin)] | None = Field(
        default=None, description="the public origin, e.g. https://tidings.example; shown in the API documents"
    )
    trusted_hops: int = Field(
        default=0, ge=0, le=10, description="how many proxies each request comes through, counted in X-Forwarded-For"
    )
    header_seconds: float = Field(
        default=10, ge=0.1, le=600, allow_inf_nan=False, description="longest time for the header fields of a request"
    )
    body_seconds: float = Field(
        default=30, ge=0.1, le=600, allow_inf_nan=False, description="longest time for the body of a request"
    )
    write_seconds: float = Field(
        default=30, ge=0.1, le=600, allow_inf_nan=False, description="longest time in which a client reads nothing"
    )
    keep_alive_seconds: int = Field(
        default=75,
        ge=1,
        le=3600,
        description="how long a connection without requests stays open; longer than the proxy's time",
    )
    max_connections: int = Field(default=1000, ge=1, le=100_000, description="most connections open at a time")
    max_requests: int = Field(
        default=40,
        ge=1,
        le=10_000,
        description="most requests worked on at once, a few times the database's connections; others wait a moment",
    )
    drain_seconds: float = Field(
        default=2,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="how long to go on answering after SIGTERM, while not ready",
    )

    @field_validator("management_port")
    @classmethod
    def _is_another_port(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value == info.data.get("port"):
            raise ValueError("is the same as TIDINGS_HTTP_PORT; choose another")
        return value


class TokenSettings(Group):
    """Which access tokens are believed."""

    issuer: Text = Field(default="https://tidings.local", description="the `iss` of access tokens")
    audience: Text = Field(default="tidings", description="the `aud` of access tokens")
    jwks_url: str = Field(description="where auth publishes its keys, e.g. http://auth:8000/.well-known/jwks.json")

    @field_validator("jwks_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        addresses.http_address(value)
        return value


class ActivitySettings(Group):
    """How callers are told apart in the activity log."""

    address_key: Secret = Field(
        min_length=16,
        description="secret of at least 16 characters that keys the hashes of client addresses and of requests",
    )
