"""The launcher's secured Kafka: more listeners for clients, with TLS, with passwords, or with both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tidings_local.servers.ports import LOOPBACK, free_port

_SCRAM = ("SCRAM-SHA-512", "SCRAM-SHA-256")
_LOGIN = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Listener:
    """One more port for clients."""

    name: str
    """In capitals, as Kafka's settings have it; its own in the broker."""
    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    asks_for_certificate: bool = False
    """Whether a client must show a certificate that `Security.trusted` signed."""
    mechanisms: tuple[str, ...] = (*_SCRAM, "PLAIN")
    """How a client may show a password, where the protocol is `SASL_…`."""
    port: int = field(default_factory=free_port)

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"{LOOPBACK}:{self.port}"


@dataclass(frozen=True)
class Security:
    """What a cluster of one broker needs to serve clients on secured listeners, beside the plain one of its own."""

    listeners: tuple[Listener, ...]
    users: Mapping[str, str]
    """Passwords by name, good for every mechanism."""
    identity: Path
    """PEM file with the broker's private key (PKCS 8) and its certificates."""
    trusted: Path
    """PEM file with the authorities whose clients are let in."""

    @property
    def scram_arguments(self) -> list[str]:
        """What the format of a broker's folder is told, to know the users from the start."""
        return [
            argument
            for name, password in self.users.items()
            for mechanism in _SCRAM
            for argument in ("--add-scram", f"{mechanism}=[name={name},password={password}]")
        ]

    def added_to(self, settings: Mapping[str, object]) -> dict[str, object]:
        """Return a broker's settings with these listeners after its own."""
        added: dict[str, object] = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.identity,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.trusted,
        }
        clients = ",".join(f"{listener.name}://{listener.address}" for listener in self.listeners)
        protocols = ",".join(f"{listener.name}:{listener.protocol}" for listener in self.listeners)
        for key, more in (
            ("listeners", clients),
            ("advertised.listeners", clients),
            ("listener.security.protocol.map", protocols),
        ):
            added[key] = f"{settings[key]},{more}"
        for listener in self.listeners:
            added |= self._of(listener)
        return {**settings, **added}

    def _of(self, listener: Listener) -> dict[str, object]:
        prefix = f"listener.name.{listener.name.lower()}."
        own: dict[str, object] = {}
        if listener.asks_for_certificate:
            own[f"{prefix}ssl.client.auth"] = "required"
        if listener.protocol.startswith("SASL_"):
            own[f"{prefix}sasl.enabled.mechanisms"] = ",".join(listener.mechanisms)
            for mechanism in listener.mechanisms:
                own[f"{prefix}{mechanism.lower()}.sasl.jaas.config"] = self._login(mechanism)
        return own

    def _login(self, mechanism: str) -> str:
        """Return how the broker checks passwords: those of SCRAM it has itself, those of PLAIN it is told here."""
        if mechanism in _SCRAM:
            return f"{_LOGIN}.scram.ScramLoginModule required;"
        users = "".join(f' user_{name}="{password}"' for name, password in self.users.items())
        return f"{_LOGIN}.plain.PlainLoginModule required{users};"
