"""The launcher's Kafka settings: the server.properties of one broker."""

from collections.abc import Sequence
from pathlib import Path

from tidings_local.servers.kafka_security import Security
from tidings_local.servers.ports import LOOPBACK, BrokerPorts

_PARTITIONS = 4


def properties(node: int, quorum: Sequence[BrokerPorts], data: Path, security: Security | None = None) -> str:
    """The text of server.properties for one node (counted from 1) of a cluster."""
    settings = _identity(node, quorum, data) | _topics(len(quorum)) | _SMALL_AND_QUICK
    if security:
        settings = security.added_to(settings)
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _identity(node: int, quorum: Sequence[BrokerPorts], data: Path) -> dict[str, object]:
    own = quorum[node - 1]
    internal = f"INTERNAL://{LOOPBACK}:{own.internal}"  # brokers reach each other past the proxies of clients
    voters = [f"{n}@{LOOPBACK}:{ports.controller}" for n, ports in enumerate(quorum, start=1)]
    return {
        "process.roles": "broker,controller",
        "node.id": node,
        "log.dirs": data,
        "listeners": f"CLIENT://{LOOPBACK}:{own.client},{internal},CONTROLLER://{LOOPBACK}:{own.controller}",
        "advertised.listeners": f"CLIENT://{LOOPBACK}:{own.advertised},{internal}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": ",".join(voters),
    }


def _topics(brokers: int) -> dict[str, object]:
    replicas = min(3, brokers)
    # Two of three: one broker may die, and what was confirmed is still on the other two.
    in_sync = 2 if replicas == 3 else 1
    return {
        "auto.create.topics.enable": "true",
        "num.partitions": _PARTITIONS,
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": _PARTITIONS,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": _PARTITIONS,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": _PARTITIONS,
    }


# For a small machine that waits for every start. A killed broker is given up after three seconds,
# not nine: until then its partitions have no leader, and it is itself refused when it comes back.
_SMALL_AND_QUICK: dict[str, object] = {
    "group.initial.rebalance.delay.ms": 0,
    "broker.heartbeat.interval.ms": 500,
    "broker.session.timeout.ms": 3000,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "background.threads": 2,
    "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
}
