"""The setting: what each benchmark is given, and the databases and events that several of them use."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import MetaData, Table, delete

from support.servers import RealServers
from tidings.database.engine import create_engine
from tidings.database.settings import DatabaseSettings
from tidings.database.transactions import Database, Transaction
from tidings.events import ApiRequest, uuid7
from tidings.kafka.settings import KafkaSettings
from tidings.telemetry.setup import Telemetry


@dataclass(frozen=True)
class Setting:
    """Where and how much to measure.

    Args:
        servers: real ones.
        folder: for files.
        rounds: how many of each side.
        quick: with hardly any items; the figures then mean nothing.
    """

    servers: RealServers
    folder: Path
    rounds: int
    quick: bool = False

    def items(self, count: int) -> int:
        """Return how many items a round has."""
        return min(count, 200) if self.quick else count

    def kafka(self) -> KafkaSettings:
        """Return where Kafka is."""
        return KafkaSettings(bootstrap_servers=self.servers.kafka.bootstrap)

    @asynccontextmanager
    async def database(self, name: str, metadata: MetaData, telemetry: Telemetry) -> AsyncIterator[Database]:
        """Open a new database with the tables of `metadata`."""
        name = f"tidings_benchmark_{name}"
        self.servers.mariadb.drop_database(name)
        self.servers.mariadb.create_database(name)
        settings = DatabaseSettings(url=SecretStr(self.servers.mariadb.url(name)), deadline_seconds=20)
        engine = create_engine(settings, telemetry)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
            yield Database(engine, settings.deadline_seconds)
        finally:
            await engine.dispose()


SAMPLED = 0.1
"""The share of traces that is sampled, unless a line says otherwise: that of a service in production."""


async def empty(database: Database, table: Table) -> None:
    """Delete every row of `table`."""

    async def write(transaction: Transaction) -> None:
        await transaction.execute(delete(table))

    await database.run_in_transaction(write)


def traceparents(count: int, sampled: float) -> list[str]:
    """Return traces of their own, of which the share `sampled` is sampled."""
    flags = ["01" if number % 100 < sampled * 100 else "00" for number in range(count)]
    return [f"00-{uuid7().hex}-{number + 1:016x}-{flag}" for number, flag in enumerate(flags)]


def calls(count: int, kind: type[ApiRequest] = ApiRequest) -> Sequence[ApiRequest]:
    """Return calls such as a service tells of, each by a user of its own."""
    return [
        kind(
            method="POST",
            route="/api/messages",
            status=201,
            duration_ms=number % 1000 / 8,
            response_bytes=330,
            user_id=uuid7(),
            username=f"user-{number}",
            request_id=str(uuid7()),
            client=sha256(str(number).encode()).hexdigest()[:32],
        )
        for number in range(count)
    ]
