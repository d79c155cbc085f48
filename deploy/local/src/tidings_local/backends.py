"""Backends: the database, Redis and Kafka that the services are pointed at, embedded or real servers."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from tidings_local.servers import Kafka, MariaDB, Redis

# The mock cluster keeps nothing beyond the process.
EMBEDDED_KAFKA = {"drain_at_stop": True}


@dataclass(frozen=True)
class Backends:
    """Where the services find what they need."""

    database: Callable[[str], str]
    """Gives the URL of a service's own database by its short name."""
    redis: str
    kafka: str
    described: str
    """One line for people: what this is."""
    kafka_options: dict[str, Any] = field(default_factory=dict)


@contextmanager
def embedded_backends(folder: Path) -> Iterator[Backends]:
    """Keep data in SQLite files in `folder`, and Redis and Kafka in this process."""
    with _blocked_signals():
        mock = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused", "log_level": 0})
    brokers = mock.list_topics(timeout=5).brokers.values()
    yield Backends(
        database=lambda name: f"sqlite+aiosqlite:///{folder / name}.db",
        redis="memory://redis",
        kafka=",".join(f"{broker.host}:{broker.port}" for broker in brokers),
        kafka_options=EMBEDDED_KAFKA,
        described="embedded: SQLite, with Redis and Kafka in memory",
    )
    del mock  # the cluster lives as long as this object


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Block all signals in the threads that start meanwhile.

    librdkafka does so for its own threads, except that of the mock cluster, which ends when a signal interrupts its
    poll. When two signals come at once, the kernel gives the second to any thread that does not block it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def real_backends(folder: Path) -> Iterator[Backends]:
    """Start private MariaDB, Redis and Kafka servers with their data in `folder`; stop them afterwards.

    Raises:
        ServerMissing: a program is not installed.
        ServerFailed: a server did not come up.
    """
    with ExitStack() as stack:
        mariadb = stack.enter_context(MariaDB(folder / "mariadb"))
        redis = stack.enter_context(Redis(folder / "redis"))
        kafka = stack.enter_context(Kafka(folder / "kafka"))

        def database(name: str) -> str:
            mariadb.create_database(f"tidings_{name}")
            return mariadb.url(f"tidings_{name}")

        yield Backends(
            database=database,
            redis=redis.url,
            kafka=kafka.bootstrap,
            described=f"real servers: MariaDB :{mariadb.port}, Redis :{redis.port}, Kafka {kafka.bootstrap}",
        )
