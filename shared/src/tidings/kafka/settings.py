"""Settings of the connection to Kafka."""

import re
from typing import Any

from pydantic import Field, field_validator

from tidings.settings import Group

ADDRESS = re.compile(r"^(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):(\d{1,5})$")


class KafkaSettings(Group):
    """Where the brokers are."""

    bootstrap_servers: str = Field(description="brokers to ask first, e.g. kafka-0:9092,kafka-1:9092")
    fetch_max_wait_ms: int = Field(
        default=50, ge=1, le=10_000, description="how long a broker may hold back an empty answer, ms"
    )
    drain_at_stop: bool = Field(
        default=False, description="a consumer reads all there is before it stops; for a broker that forgets"
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, value: str) -> str:
        wrong = [part for part in value.split(",") if not _is_address(part.strip())]
        if wrong:
            raise ValueError(f"{', '.join(map(repr, wrong))} is not host:port")
        return value.replace(" ", "")

    def client_options(self) -> dict[str, Any]:
        """Return the options that every aiokafka client takes."""
        return {"bootstrap_servers": self.bootstrap_servers, "request_timeout_ms": 10_000}


def _is_address(text: str) -> bool:
    found = ADDRESS.match(text)
    return found is not None and 1 <= int(found[2]) <= 65535
