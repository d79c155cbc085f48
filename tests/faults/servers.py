"""The servers behind their proxies, and the four targets that a fault may have among them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient

from faults.proxy import Mode, Proxies, Proxy, open_proxies
from tidings_local.servers import Kafka, MariaDB, Redis, Server
from tidings_local.servers.ports import LOOPBACK, BrokerPorts

BROKERS = 3


@dataclass(frozen=True)
class Target:
    """Servers that a fault befalls together."""

    servers: Sequence[Server]
    proxies: Sequence[Proxy]
    start: Callable[[], None]
    """Starts those that do not run, and waits until they answer."""

    def become(self, mode: Mode) -> None:
        """Treat the connections to all of them in another way."""
        for proxy in self.proxies:
            proxy.become(mode)


class Servers:
    """MariaDB, Redis and a Kafka of three brokers, each behind a proxy.

    The services know the proxies only. Brokers tell clients the ports of their proxies, and talk to each other past
    them.
    """

    def __init__(self, folder: Path, proxies: Proxies) -> None:
        self.mariadb = MariaDB(folder / "mariadb")
        self.redis = Redis(folder / "redis")
        ports = [BrokerPorts.free() for _ in range(BROKERS)]
        doors = [proxies.to(own.client) for own in ports]
        told = [own._replace(advertised=door.port) for own, door in zip(ports, doors, strict=True)]
        self.kafka = Kafka(folder / "kafka", BROKERS, told)
        self._mariadb_door = proxies.to(self.mariadb.port)
        self._redis_door = proxies.to(self.redis.port)
        self._kafka_doors = doors

    @property
    def bootstrap(self) -> str:
        """The brokers' addresses, as services are told them."""
        return ",".join(f"{LOOPBACK}:{door.port}" for door in self._kafka_doors)

    @property
    def redis_url(self) -> str:
        """Redis, as services are told it."""
        return f"redis://{LOOPBACK}:{self._redis_door.port}/0"

    def database_url(self, name: str) -> str:
        """Return the URL of a database, as services are told it."""
        return self.mariadb.url(name).replace(f":{self.mariadb.port}/", f":{self._mariadb_door.port}/")

    def target(self, name: str) -> Target:
        """Return the target `broker`, `brokers`, `mariadb` or `redis`; the broker leads a partition of the messages."""
        kafka, doors = self.kafka, self._kafka_doors
        if name == "mariadb":
            return Target([self.mariadb], [self._mariadb_door], self.mariadb.start)
        if name == "redis":
            return Target([self.redis], [self._redis_door], self.redis.start)
        if name == "brokers":
            return Target(kafka.brokers, doors, kafka.start)
        node = self._leader()
        return Target([kafka.brokers[node - 1]], [doors[node - 1]], kafka.start)

    def _leader(self) -> int:
        topic = "tidings.messages.v1"
        metadata = AdminClient({"bootstrap.servers": self.bootstrap}).list_topics(topic, timeout=10)
        return int(metadata.topics[topic].partitions[0].leader)


@contextmanager
def running_servers(folder: Path) -> Iterator[Servers]:
    """Run all servers and their proxies until the block ends."""
    with ExitStack() as stack:
        servers = Servers(folder, stack.enter_context(open_proxies()))
        for server in (servers.mariadb, servers.redis, servers.kafka):
            stack.enter_context(server)
        yield servers
