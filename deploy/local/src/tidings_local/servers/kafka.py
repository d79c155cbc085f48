"""The launcher's Kafka: a private cluster of one or more brokers."""

import base64
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

from tidings_local.servers.kafka_broker import Broker
from tidings_local.servers.kafka_security import Security
from tidings_local.servers.ports import LOOPBACK, BrokerPorts


class Kafka:
    """A private Kafka cluster without ZooKeeper; topics appear on first use, with 4 partitions.

    With three brokers every partition is on all of them, and a write with `acks=all` needs two.
    Ports are kept over stop and start; a new object on the same folder and ports, with as many
    brokers, finds the data as it was left. Use it as a context manager, or call `stop` in the end.
    """

    def __init__(
        self,
        folder: Path,
        brokers: int = 1,
        ports: Sequence[BrokerPorts] | None = None,
        security: Security | None = None,
    ) -> None:
        """Choose the ports, unless they are given: one set for each broker.

        Raises:
            ValueError: there are not as many sets of ports as brokers, or several brokers with `security`.
        """
        self.ports = tuple(ports or (BrokerPorts.free() for _ in range(brokers)))
        if len(self.ports) != brokers or brokers < 1:
            raise ValueError(f"{brokers} brokers cannot have {len(self.ports)} sets of ports")
        if security and brokers > 1:
            raise ValueError("the ports of `security` are those of one broker")
        folder.mkdir(parents=True, exist_ok=True)
        cluster = _cluster_id(folder)
        self.brokers = tuple(
            Broker(folder / f"broker-{node}", node, cluster, self.ports, security) for node in range(1, brokers + 1)
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """The addresses of all brokers, as clients take them."""
        return ",".join(f"{LOOPBACK}:{ports.client}" for ports in self.ports)

    @property
    def running(self) -> bool:
        """Whether all brokers run."""
        return all(broker.running for broker in self.brokers)

    def start(self) -> None:
        """Start the brokers that do not run, and wait until each knows all others to be ready.

        Raises:
            ServerMissing: Java is not installed, or Kafka's files are absent and Maven is too.
            ServerFailed: a broker did not come up; the whole cluster is gone then.
        """
        nodes = {broker.node for broker in self.brokers}
        try:
            # All of them first: none is ready before a majority is there.
            for broker in self.brokers:
                broker.launch()
            for broker in self.brokers:
                broker.wait_for(partial(broker.sees, nodes))
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop all brokers (SIGTERM, later SIGKILL) and wait until they are gone."""
        for broker in self.brokers:
            broker.ask_to_stop()
        for broker in self.brokers:
            broker.stop()

    def kill(self) -> None:
        """Kill all brokers (SIGKILL) and wait until they are gone."""
        for broker in self.brokers:
            broker.kill()

    def pause(self) -> None:
        """Stop the clock of all brokers (SIGSTOP). Raises as `Broker.pause` does."""
        for broker in self.brokers:
            broker.pause()

    def resume(self) -> None:
        """Let all brokers go on (SIGCONT). Raises as `Broker.resume` does."""
        for broker in self.brokers:
            broker.resume()


def _cluster_id(folder: Path) -> str:
    # Of its own and kept, so that brokers of different clusters never take each other for peers.
    kept = folder / "cluster-id"
    if not kept.exists():
        kept.write_text(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="))
    return kept.read_text()
