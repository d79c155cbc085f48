"""The launcher's Kafka broker: one process of a cluster, broker and controller in one."""

from collections.abc import Sequence
from pathlib import Path

from tidings_local.servers.command import run
from tidings_local.servers.kafka_jars import fetch_jars
from tidings_local.servers.kafka_metadata import ready_brokers
from tidings_local.servers.kafka_properties import properties
from tidings_local.servers.kafka_security import Security
from tidings_local.servers.ports import BrokerPorts
from tidings_local.servers.programs import program
from tidings_local.servers.server import Server

# One small heap, the collector and compiler that start fastest and need no threads of their own.
_JVM = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_LOGGING = [
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
]


class Broker(Server):
    """One broker of a `Kafka` cluster, which makes it; a test may stop, kill or pause it.

    Its `start` needs a majority of the cluster's brokers running, itself included.
    """

    kind = "Kafka"

    def __init__(
        self,
        folder: Path,
        node: int,
        cluster: str,
        ports: Sequence[BrokerPorts],
        security: Security | None = None,
    ) -> None:
        super().__init__(folder, ports[node - 1].client)
        self.node = node
        self._cluster = cluster
        self._quorum = ports
        self._security = security

    @property
    def name(self) -> str:
        """What messages call this broker."""
        return f"Kafka broker {self.node}"

    def sees(self, nodes: set[int]) -> bool:
        """Whether these brokers take clients, as far as this one knows.

        Raises:
            OSError: this one does not answer.
        """
        with self._connect() as connection:
            return nodes <= ready_brokers(connection)

    def _ports(self) -> Sequence[int]:
        more = self._security.listeners if self._security else ()
        own = self._quorum[self.node - 1]
        return [own.client, own.controller, own.internal, *(listener.port for listener in more)]

    def _answers(self) -> bool:
        return self.sees({self.node})

    def _prepare(self) -> None:
        self._settings.write_text(properties(self.node, self._quorum, self._data, self._security))
        # Kafka writes this file last.
        if not (self._data / "meta.properties").exists():
            run(f"the format of {self.name}", self._format_command(), self.folder)

    def _command(self) -> Sequence[str]:
        return [*self._java(), *_JVM, *_LOGGING, "kafka.Kafka", str(self._settings)]

    def _format_command(self) -> Sequence[str]:
        tool = [*self._java(), *_JVM, "kafka.tools.StorageTool", "format", "--ignore-formatted"]
        # One word: an id may begin with a dash.
        users = self._security.scram_arguments if self._security else []
        return [*tool, f"--cluster-id={self._cluster}", "-c", str(self._settings), *users]

    def _java(self) -> list[str]:
        return [program("java"), "-cp", f"{fetch_jars()}/*"]

    @property
    def _settings(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _data(self) -> Path:
        return self.folder / "data"
