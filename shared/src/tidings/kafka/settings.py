"""Settings of the connection to Kafka."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from tidings import addresses
from tidings.settings import File, Group, Line, Secret
from tidings.tls import client_context, require_certificates

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]


class KafkaSettings(Group):
    """Where the brokers are, and how to be let in."""

    bootstrap_servers: str = Field(description="brokers to ask first, e.g. kafka-0:9092,kafka-1:9092")
    fetch_max_wait_ms: int = Field(
        default=50, ge=1, le=10_000, description="how long a broker may hold back an empty answer, ms"
    )
    drain_at_stop: bool = Field(
        default=False, description="a consumer reads all there is before it stops; for a broker that forgets"
    )
    security_protocol: Protocol = Field(
        default="PLAINTEXT", description="what the brokers' port speaks: a password is SASL_…, TLS is …SSL"
    )
    sasl_mechanism: Mechanism = Field(default="SCRAM-SHA-512", description="how the password is shown")
    sasl_username: Line | None = Field(default=None, validate_default=True, description="who signs in to Kafka")
    sasl_password: Secret | None = Field(default=None, validate_default=True, description="their password")
    ssl_ca_file: File | None = Field(
        default=None, description="PEM file with the authorities that sign the brokers' certificates; else the system's"
    )
    ssl_certificate_file: File | None = Field(default=None, description="PEM file with the client's own certificate")
    ssl_key_file: File | None = Field(
        default=None, validate_default=True, description="PEM file with the private key of that certificate"
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, value: str) -> str:
        brokers = [part.strip() for part in value.split(",")]
        for number, broker in enumerate(brokers, 1):
            if not _is_address(broker):
                raise ValueError(f"broker {number} of {len(brokers)} is not host:port")
        return ",".join(brokers)

    @field_validator("sasl_mechanism")
    @classmethod
    def _keeps_the_password(cls, value: str, info: ValidationInfo) -> str:
        _refuse_unless(_has_password, info)
        if value == "PLAIN" and info.data.get("security_protocol") == "SASL_PLAINTEXT":
            raise ValueError("PLAIN would send the password in clear; take SASL_SSL, or a SCRAM mechanism")
        return value

    @field_validator("sasl_username", "sasl_password")
    @classmethod
    def _goes_with_sasl(cls, value: str | SecretStr | None, info: ValidationInfo) -> str | SecretStr | None:
        if value:
            _refuse_unless(_has_password, info)
        elif _has_password(info.data.get("security_protocol", "")):
            raise ValueError("is not set")
        return value

    @field_validator("ssl_ca_file", "ssl_certificate_file")
    @classmethod
    def _holds_certificates(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value:
            _refuse_unless(_has_tls, info)
            require_certificates(value)
        return value

    @field_validator("ssl_key_file")
    @classmethod
    def _goes_with_the_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value:
            _refuse_unless(_has_tls, info)
        if not {"security_protocol", "ssl_ca_file", "ssl_certificate_file"} <= info.data.keys():
            return value  # what is wrong with those is said already
        certificate = info.data["ssl_certificate_file"]
        if bool(certificate) != bool(value):
            raise ValueError("and TIDINGS_KAFKA_SSL_CERTIFICATE_FILE must both be set, or neither")
        if _has_tls(info.data["security_protocol"]):
            client_context(info.data["ssl_ca_file"], certificate, value)
        return value

    def client_options(self) -> dict[str, Any]:
        """Return the options that every aiokafka client takes; the password is among them."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "request_timeout_ms": 10_000,
            "security_protocol": self.security_protocol,
        }
        if self.sasl_password and _has_password(self.security_protocol):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password.get_secret_value()
        if _has_tls(self.security_protocol):
            options["ssl_context"] = client_context(self.ssl_ca_file, self.ssl_certificate_file, self.ssl_key_file)
        return options


def _is_address(text: str) -> bool:
    try:
        return addresses.host_and_port(text)[1] is not None
    except ValueError:
        return False


def _has_password(protocol: str) -> bool:
    return protocol.startswith("SASL_")


def _has_tls(protocol: str) -> bool:
    return protocol.endswith("SSL")


def _refuse_unless(has_use: Callable[[str], bool], info: ValidationInfo) -> None:
    """Raise `ValueError` when the security protocol has no use for a setting that is given."""
    protocol = info.data.get("security_protocol")
    if protocol and not has_use(protocol):
        raise ValueError(f"is of no use with TIDINGS_KAFKA_SECURITY_PROTOCOL={protocol}")
