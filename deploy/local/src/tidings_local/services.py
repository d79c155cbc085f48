"""The three services, unmodified: their settings from the backends, their migrations, their applications."""

from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

import tidings_auth.app
import tidings_log_consumer.app
import tidings_messages.app
from tidings.commands import ServiceSettings, migrate
from tidings.settings import load
from tidings_auth.settings import AuthSettings
from tidings_local.backends import Backends
from tidings_local.folder import kept_secret
from tidings_log_consumer.settings import LogSettings
from tidings_messages.settings import MessagesSettings


@dataclass(frozen=True)
class Services:
    """The applications by short name, in the order in which they start; they stop in reverse.

    The log consumer starts first and stops last: what the others send while they drain is still stored.
    """

    apps: dict[str, FastAPI]
    databases: tuple[tuple[str, ServiceSettings], ...]

    async def migrate(self) -> None:
        """Bring every service's database to its newest schema.

        Raises:
            CommandFailed: one cannot be brought there; the message says why.
        """
        for package, settings in self.databases:
            await migrate(package, settings.database)


def build_services(backends: Backends, secrets: Path, url: str) -> Services:
    """Return the services for these backends.

    Args:
        backends: where they find database, Redis and Kafka.
        secrets: folder with the keys that are made on first use.
        url: the one origin that they share.
    """
    common = {
        "environment": "development",
        "activity": {"address_key": kept_secret(secrets / "address-key")},
        "redis": {"url": backends.redis},
        "kafka": {"bootstrap_servers": backends.kafka, **backends.kafka_options},
    }
    tokens = {"jwks_url": f"{url}/.well-known/jwks.json"}
    signing = {"keys_file": secrets / "signing-keys.json", "generate": True}
    logs = load(LogSettings, database={"url": backends.database("logs")}, tokens=tokens, **common)
    messages = load(MessagesSettings, database={"url": backends.database("messages")}, tokens=tokens, **common)
    auth = load(
        AuthSettings,
        database={"url": backends.database("auth")},
        signing=signing,
        session={"insecure_cookie": True},  # there is no HTTPS here, and not every client takes loopback for safe
        **common,
    )
    return Services(
        apps={
            "logs": tidings_log_consumer.app.create_app(logs),
            "messages": tidings_messages.app.create_app(messages),
            "auth": tidings_auth.app.create_app(auth),
        },
        databases=(
            (tidings_log_consumer.app.PACKAGE, logs),
            (tidings_messages.app.PACKAGE, messages),
            (tidings_auth.app.PACKAGE, auth),
        ),
    )
